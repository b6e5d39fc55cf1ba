"""No secret in any log, error or history: a canary is let loose in every way a body has, and looked for everywhere."""

import logging
import subprocess
import sys
import textwrap

import pytest

import flyte
from flyte._core.home import home_dir

CANARY = "c4n4ry-5ecret-value"

PROGRAM = """
    import logging, os, sys
    import flyte

    env = flyte.TaskEnvironment("vault", secrets=[flyte.Secret("token", as_env_var="TOKEN")])

    @flyte.trace
    async def step(name: str) -> int:
        print("traced", os.environ["TOKEN"])
        return len(name)

    @env.task(retries=1)
    async def careless(n: int) -> int:
        secret = os.environ["TOKEN"]
        print("printed", secret)
        print("in parts:", secret[:5], end="")
        print(secret[5:], file=sys.stderr)
        logging.getLogger("mine").warning("logged %s", secret)
        flyte.logger.error(f"logged {secret}")
        await step("x")
        raise ValueError(f"the server refused {secret}") from RuntimeError(secret)

    @env.task
    async def main(n: int) -> int:
        try:
            return await careless(n)
        except ValueError:
            return 0

    @env.task
    async def failing() -> int:
        raise KeyError(os.environ["TOKEN"])

    if __name__ == "__main__":
        print(flyte.run(main, 1).result)
        flyte.run(failing)
"""


def everything_written() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home_dir().rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["environment", "file"])
def test_no_secret_in_the_history(tmp_path, source, monkeypatch):
    (tmp_path / "vault.py").write_text(textwrap.dedent(PROGRAM))
    if source == "environment":
        monkeypatch.setenv("TOKEN", CANARY)
    else:
        (home_dir() / "secrets").mkdir(parents=True)
        (home_dir() / "secrets" / "token").write_text(CANARY + "\n")
    done = subprocess.run([sys.executable, "vault.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert CANARY in done.stdout  # the program did print it: that is its own business
    assert done.returncode == 1
    written = everything_written()
    assert any(name.endswith("journal.db") for name in written)
    kept = {name: data for name, data in written.items() if not name.endswith("secrets/token")}
    assert [name for name, data in kept.items() if CANARY.encode() in data] == []
    # What was said is there all the same, without it.
    assert any(b"the server refused *****" in data for data in kept.values())
    assert any(b"printed *****" in data for data in kept.values())


def test_the_sdk_itself_never_says_a_secret(monkeypatch, caplog):
    monkeypatch.setenv("TOKEN", CANARY)
    env = flyte.TaskEnvironment("vault", secrets=flyte.Secret("token", as_env_var="TOKEN"))

    @env.task
    async def wrong() -> int:
        return "text"  # type: ignore[return-value]

    with caplog.at_level(logging.DEBUG, "flyte"), pytest.raises(Exception, match="expected int"):
        flyte.run(wrong)
    assert CANARY not in caplog.text
    assert CANARY not in repr(wrong) + repr(env) + str(env.__dict__)
