"""The errors of bad input data."""


class InputError(Exception):
    """Input that cannot be converted. The message names the file or id and says what to do next."""


class BadImage(Exception):
    """One image that cannot become a record: `reason` is the ledger's word, the message says why.

    With on_error="stop" it is raised as an `InputError`, with "skip" it goes into the ledger.
    """

    def __init__(self, reason, message):
        super().__init__(reason, message)  # both, so that it survives pickling
        self.reason, self.message = reason, message

    def __str__(self):
        return self.message
