"""Where large values are written. Alone in its module, because whoever runs a task sets it, and few tasks write any."""

from contextvars import ContextVar

raw_data_path: ContextVar[str | None] = ContextVar("flyte_raw_data_path", default=None)
"""A folder or an object-store prefix; None for a temporary folder."""
