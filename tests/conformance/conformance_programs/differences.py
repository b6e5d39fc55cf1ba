"""Programs that are known to differ, and why. A test of one that has become equal fails, so that its line goes.

The second text names the parts that may differ; any other that does is a failure.
"""

_SYSTEM = (
    "the control plane repeats failures of the system up to 4 times, whatever retries= says, and says so",
    "attempts error outputs status",
)
_WORDS_OF_TIME = (
    "the devbox words the message of a timeout otherwise, without the task's name; class and code equal",
    "error outputs status",
)
_OWN_CODE = ("on the wire, RuntimeUserError('MyCode') and the user's own class MyCode look alike", "error status")
_MEMORY = (
    "a0 tells of a MemoryError as OOMError, code OOM (wire-protocol section 5.4); here it stays a MemoryError",
    "error outputs status",
)
_NO_MESSAGE = (
    "an error without a message gets one that names its code on its way over the wire",
    "error outputs status",
)
_PLACE = ("a file or folder without a hash stands for its URI, which is in another place", "names")
_CANCELLED = (
    "the history here says CancelledError of a cancelled child, the control plane ActionAbortedError",
    "error",
)
_SINGLE = (
    "ExceptionGroup and UnicodeDecodeError are not made of a message, so the caller gets a class above theirs",
    "outputs",
)

DIFFERENCES: dict[str, tuple[str, str]] = {
    "about": ("ctx().is_in_cluster() says where it is", "outputs"),
    "cancelled": _CANCELLED,
    "waited_too_long": _CANCELLED,
    "catches_empty_message": _NO_MESSAGE,
    "fails_empty_message": _NO_MESSAGE,
    "catches_memory": _MEMORY,
    "fails_memory": _MEMORY,
    "catches_own_error": (
        "the user's own class does not travel: a caller elsewhere gets RuntimeUserError with its name",
        "outputs",
    ),
    "catches_several": _SINGLE,
    "catches_unicode_error": _SINGLE,
    "catches_slow": _WORDS_OF_TIME,
    "fails_slow": _WORDS_OF_TIME,
    "catches_system_code": _SYSTEM,
    "fails_system_code": _SYSTEM,
    "catches_user_code": _OWN_CODE,
    "fails_user_code": _OWN_CODE,
    "condition_in_vain": ("the messages of the two timeouts differ, and the devbox gives the code TIMED_OUT", "error"),
    "file_at_a_place": _PLACE,
    "folder": _PLACE,
    "too_big_for_root": ("the message is written in two places", "refused"),
}
