"""Values of flyte.models and other small types."""

import flyte
from flyte.models import (
    ActionID,
    ActionPhase,
    CodeBundle,
    GroupData,
    MAX_INLINE_IO_BYTES,
    RawDataPath,
    SerializationContext,
)
from transcript import accepted, attempt, show

action = ActionID(name="a", run_name="r", project="p", domain="d", org="o")
show("action", [action.name, action.run_name, action.project, action.domain, action.org])
attempt("action run name default", lambda: ActionID(name="x").run_name)
attempt("random", lambda: len(ActionID.create_random().name) > 5)
attempt("sub action", lambda: action.new_sub_action(name="s").run_name)
attempt("sub action random", lambda: action.new_sub_action().name != action.name)
attempt("sub action from", lambda: len(action.new_sub_action_from("t", "i", "g", "c")))
attempt("unique output", lambda: action.unique_id_str())
attempt("hash", lambda: len({action, action}))
bundle = CodeBundle(tgz="s3://b/x.tgz", computed_version="v")
show("bundle", [bundle.tgz, bundle.pkl, bundle.destination, bundle.computed_version, bundle.downloaded_path])
attempt("downloaded", lambda: bundle.with_downloaded_path("/x").downloaded_path)
accepted("neither", lambda: CodeBundle(computed_version="v"))
accepted("both", lambda: CodeBundle(computed_version="v", tgz="a", pkl="b"))
accepted("positional", lambda: CodeBundle("v"))
accepted("frozen", lambda: setattr(bundle, "tgz", "y"))
sctx = SerializationContext(version="v")
for field in (
    "version",
    "project",
    "domain",
    "org",
    "code_bundle",
    "input_path",
    "output_path",
    "image_cache",
    "root_dir",
):
    show(f"sctx.{field}", getattr(sctx, field))
attempt("entrypoint", lambda: sctx.get_entrypoint_path("/usr/bin/python"))
show("limit", MAX_INLINE_IO_BYTES)
show("group", GroupData("g").name)
show("raw", RawDataPath(path="/x").path)
attempt("raw remote", lambda: RawDataPath.from_local_folder().path != "")
show("phases", sorted(p.value for p in ActionPhase))
show("terminal", sorted(p.value for p in ActionPhase if p.is_terminal))
attempt("phase parse", lambda: ActionPhase("succeeded").name)
show("device class", flyte.GPU("T4", 1).device_class)
attempt("link", lambda: hasattr(flyte.Link, "get_link"))
attempt("project", flyte.current_project)
attempt("domain", flyte.current_domain)
attempt("control plane", flyte.is_control_plane_available)
show("loggers", [type(flyte.logger).__name__, type(flyte.system_logger).__name__])
attempt("not built", lambda: flyte.latest_checkpoint(__import__("pathlib").Path(".")))
attempt("user checks", lambda: isinstance(flyte.TaskEnvironment("x"), flyte.Environment))
