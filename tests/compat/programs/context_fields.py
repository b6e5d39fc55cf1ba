"""Everything flyte.ctx() says."""

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("ctxenv")


@env.task
async def child() -> str:
    c = flyte.ctx()
    return f"{c.action.run_name} {c.mode} {c.is_in_cluster()}"


@env.task
async def main() -> list[str]:
    c = flyte.ctx()
    out = []
    for field in ("version", "mode", "data", "group_data", "code_bundle", "compiled_image_cache", "interactive_mode",
                  "custom_context", "disable_run_cache"):
        try:
            out.append(f"{field} {getattr(c, field)!r}")
        except AttributeError:
            out.append(f"{field} missing")
    for field in ("action", "raw_data_path", "report", "checkpoint_paths", "input_path", "output_path", "run_base_dir",
                  "checkpoints", "run_start_time"):
        try:
            out.append(f"{field} {type(getattr(c, field)).__name__}")
        except Exception as e:
            out.append(f"{field} raises {type(e).__name__}")
    out.append(f"run {c.action.run_name}")
    out.append(f"project {c.action.project}")
    out.append(f"domain {c.action.domain}")
    out.append(f"org {c.action.org}")
    out.append(await child())
    out.append(await child.override(short_name="again")())
    return out


for line in flyte.with_runcontext(mode="local", name="run1").run(main).outputs()[0]:
    show("line", line)
c = flyte.ctx()
show("outside", [bool(c), c is None])
attempt("outside is_in_cluster", lambda: flyte.ctx().is_in_cluster())
attempt("outside action", lambda: flyte.ctx().action)
attempt("outside data", lambda: flyte.ctx().data)
