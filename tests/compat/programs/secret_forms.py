"""Secrets in their forms."""

from pathlib import Path

import flyte
from transcript import accepted, attempt, show

S = flyte.Secret
for label, make in {
    "key": lambda: S("my-key"), "group": lambda: S(key="k", group="g"), "env": lambda: S("k", as_env_var="MY_VAR"),
    "mount": lambda: S("k", mount=Path("/etc/flyte/secrets")), "bad mount": lambda: S("k", mount=Path("/tmp/x")),
    "bad env": lambda: S("k", as_env_var="1 x"), "lower env": lambda: S("k", as_env_var="my_var"),
    "positional": lambda: S("k", "g", None, "V"), "dots": lambda: S("a.b"), "empty": lambda: S(""),
    "group dash": lambda: S("my-key", group="my-group"), "key with slash": lambda: S("a/b"),
}.items():
    value = attempt(label, make)
    if value is not None:
        show("  as_env_var", value.as_env_var)
        show("  group", value.group)
show("equal", S("a") == S("a"))
attempt("hash", lambda: len({S("a"), S("a")}))
for given in ("one", S("one"), ["one", S("two", as_env_var="T")], [S("one")]):
    env = flyte.TaskEnvironment("with_secrets", secrets=given)

    @env.task
    async def f(x: int) -> int:
        return x

    show("env", env.secrets)
    show("task", f.secrets)
    show("override", f.override(secrets="other").secrets)
