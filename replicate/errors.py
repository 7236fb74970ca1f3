"""The error of a user's mistake, in any room of `replicate`."""


class UserError(Exception):
    """Something the user gave is wrong. The message says what, where and what to do next.

    The tools print it without a traceback and exit with status 2.
    """
