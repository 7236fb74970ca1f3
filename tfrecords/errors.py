"""The error of bad input data."""


class InputError(Exception):
    """Input that cannot be converted. The message names the file or id and says what to do next."""
