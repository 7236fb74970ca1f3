"""The errors of a user's mistake, for every room: `replicate.errors` has those of a run beside."""

from tfrecords import commands, redaction


class UserError(Exception):
    """Something the user gave is wrong. The message says what, where and what to do next.

    The tools print it without a traceback and exit with status 2. A command that it names reads as
    the kit is called here; what lets someone in (an address with a password) is left out.
    """

    def __str__(self) -> str:
        return redaction.without_secrets(commands.as_called(super().__str__()))


class InputError(UserError):
    """Input that cannot be read or converted. The message names the file or id as well."""


class BadImage(Exception):
    """One image that cannot become a record: `reason` is the ledger's word, the message says why.

    With on_error="stop" it is raised as an `InputError`, with "skip" it goes into the ledger.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives pickling
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message
