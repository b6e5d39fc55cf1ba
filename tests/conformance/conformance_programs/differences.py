"""Programs that are known to differ, and why. A test of one that has become equal fails, so that its line goes.

The second text names the parts that may differ; any other that does is a failure.
"""

_PLACE = (
    "a file or folder without a hash stands for the place where it is, which is another in each run, here as there",
    "names",
)
_INSIDE = (
    "a file inside a class stands for the place where it is, which is another in each run, here as there",
    "names",
)
_AGAIN = (
    "a control plane never runs again what has failed, so a caller's next attempt starts another action for it",
    "names phase error",
)

DIFFERENCES: dict[str, tuple[str, str]] = {
    "about": ("ctx().is_in_cluster() says where it is", "outputs"),
    "file_at_a_place": _PLACE,
    "folder": _PLACE,
    "file_in_model": _INSIDE,
    "files_in_classes": _INSIDE,
    "again_after_children": _AGAIN,
    "again_after_failed_child": _AGAIN,
}
