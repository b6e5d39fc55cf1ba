"""Why a call is refused; the services turn it into a status of the wire."""

import enum


class Code(enum.Enum):
    """What kind of refusal it is."""

    INVALID = "invalid argument"
    MISSING = "not found"
    EXISTS = "already exists"
    PRECONDITION = "failed precondition"
    ABORTED = "aborted"


class Refusal(Exception):
    """A call that cannot be answered as asked; the message says why.

    :param code: what kind of refusal it is.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
