"""Shell completion, asked as a shell asks."""

import subprocess

import pytest
from cli_process import command, environment

from flyte.cli._tree import COMMANDS


def completions(folder, line: str) -> list[str]:
    words = line.split(" ")
    env = environment(_FLYTE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    done = subprocess.run(command(), cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flyte ", list(COMMANDS)),
        ("flyte run --o", ["--output"]),
        ("flyte run s", ["shop.py", "sub/"]),
        ("flyte run sub/", ["sub/flow.py", "sub/inner.py"]),
        ("flyte run hel", ["hello"]),
        ("flyte run shop.py ", ["square", "main", "variable", "pair", "nothing", "child", "failing"]),
        ("flyte run shop.py ma", ["main"]),
        ("flyte run shop ma", ["main"]),
        ("flyte -vv run -p x shop.py ma", ["main"]),
        ("flyte run shop.py -p x ma", ["main"]),
        ("flyte run shop.py -p m", []),  # the value of an option, not a task
        ("flyte run shop.py -p x ", ["square", "main", "variable", "pair", "nothing", "child", "failing"]),
        ("flyte run --root-dir sub inner ", ["only"]),
        ("flyte run hello ", ["square", "main"]),
        ("flyte run shop.py main --", ["--n", "--color", "--my-scale", "--loud", "--help"]),
        ("flyte run --name x shop.py main --my", ["--my-scale"]),
        ("flyte run nothing.py ", []),
    ],
)
def test_completion(folder, line, expected):
    (folder / "sub").mkdir()
    (folder / "sub" / "flow.py").write_text("def broken(:\n")
    (folder / "sub" / "inner.py").write_text("@env.task\ndef only(): ...\n")
    assert completions(folder, line) == expected


def test_a_file_that_cannot_be_parsed_completes_to_nothing(folder):
    (folder / "broken.py").write_text("def broken(:\n")
    assert completions(folder, "flyte run broken.py ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(folder, shell):
    env = environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    done = subprocess.run(
        command("--show-completion", shell), cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "_FLYTE_COMPLETE" in done.stdout
