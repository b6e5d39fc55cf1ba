"""Links shown beside a task's action, such as to a log viewer or a dashboard."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Link(Protocol):
    """Anything with a name that can say where it leads to for a given action.

    :param name: shown to readers.
    :param icon_uri: a picture beside it; empty for none.
    """

    name: str
    icon_uri: str = ""

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
        """The address for one action.

        Any of the names may be a template variable (``{{.runName}}``) that the control plane fills in.
        """
        ...
