"""Links that are shown beside a task."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Link(Protocol):
    """A link beside a task's run, such as one to its dashboard.

    ``name`` is what the reader sees.
    """

    name: str

    def get_link(
        self,
        run_name: str,
        project: str,
        domain: str,
        context: dict[str, str],
        parent_action_name: str,
        action_name: str,
        pod_name: str,
        **kwargs: Any,
    ) -> str:
        """The address for one action."""
        ...
