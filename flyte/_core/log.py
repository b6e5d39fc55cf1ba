"""The two loggers: ``flyte`` for the SDK's own words, ``flyte.user`` for the user's.

Nothing is configured on import: a library must not touch the root logger. :func:`configure` is called by
``flyte.init`` and by the command line.
"""

import logging
import os

logger: logging.Logger = logging.getLogger("flyte")
user_logger: logging.Logger = logging.getLogger("flyte.user")

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        line = {
            "timestamp": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(
    level: int | str | None = None,
    log_format: str | None = None,
    user_level: int | str | None = None,
    reset_root_logger: bool = False,
) -> None:
    """Set levels and format of the two loggers; called again, it replaces what it set before.

    :param level: of the SDK's logger; default from ``LOG_LEVEL``, else WARNING.
    :param log_format: ``"console"`` or ``"json"``; default from ``LOG_FORMAT``, else console.
    :param user_level: of ``flyte.user``; default from ``USER_LOG_LEVEL``, else INFO.
    :param reset_root_logger: remove the root logger's handlers first (an option of the published API).
    :raises ValueError: an unknown level or format.
    """
    chosen = log_format or os.environ.get("LOG_FORMAT") or "console"
    if chosen not in ("console", "json"):
        raise ValueError(f"log_format={chosen!r} is not known; use 'console' or 'json'")
    if reset_root_logger:
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)
    handler_name = "flyte-console"
    for old in [h for h in logger.handlers if h.get_name() == handler_name]:
        logger.removeHandler(old)
    handler = logging.StreamHandler()
    handler.set_name(handler_name)
    handler.setFormatter(_JsonFormatter() if chosen == "json" else logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(_level("log_level", level if level is not None else os.environ.get("LOG_LEVEL"), logging.WARNING))
    user = user_level if user_level is not None else os.environ.get("USER_LOG_LEVEL")
    user_logger.setLevel(_level("user_log_level", user, logging.INFO))


def _level(parameter: str, value: int | str | None, default: int) -> int:
    if value is None or value == "":
        return default
    if isinstance(value, int):
        return value
    if value.isdigit():
        return int(value)
    number = logging.getLevelName(value.upper())
    if not isinstance(number, int):
        raise ValueError(f"{parameter}={value!r} is not a log level; use DEBUG, INFO, WARNING, ERROR or a number")
    return number
