"""What the command says when something cannot be found or read: exact texts, and exit code 2."""

import json

import pytest

from flyte.cli._tree import COMMANDS

MESSAGES = [
    (("run", "shap.py", "main"), "there is no file 'shap.py'; did you mean 'shop.py'?"),
    (("run", "shap", "main"), "there is no file or module 'shap'; did you mean 'shop'?"),
    (("run", "helo"), "there is no file or module 'helo'; did you mean 'hello'?"),
    (("run", "zzz", "main"), "there is no file or module 'zzz'; there is shop.py"),
    (("run", "deep/shap.py", "main"), "there is no file 'deep/shap.py'; did you mean 'deep/shop.py'?"),
    (("run", "deep", "main"), "'deep' is a folder; name a Python file in it; there is deep/shop.py"),
    (("run", "shop.py", "mian"), "'shop.py' has no task 'mian'; did you mean 'main'?"),
    (
        ("run", "shop.py", "zzz"),
        "'shop.py' has no task 'zzz'; it has square, main, variable, pair, nothing, child, failing",
    ),
    (("run", "shop.py", "not_a_task"), "'not_a_task' in 'shop.py' is not a task; decorate it with @env.task"),
    (("run", "shop.py", "main"), "missing --n <int>"),
    (("run", "shop.py", "main", "--m", "1"), "No such option: --m; did you mean '--n'?"),
    (("run", "shop.py", "main", "--colour", "RED"), "No such option: --colour; did you mean '--color'?"),
    (("run", "shop.py", "main", "--n", "ten"), "Invalid value for '--n': 'ten' is not a valid int"),
    (
        ("run", "shop.py", "main", "--n", "1", "--color", "GREN"),
        "Invalid value for '--color': 'GREN' is not one of RED, GREEN; did you mean 'GREEN'?",
    ),
    (("run", "shop.py", "main", "--n"), "Option '--n' requires an argument."),
    (("run", "shop.py", "square", "--x", "1", "2"), "Got unexpected extra argument(s) (2)"),
    (
        ("run", "shop.py", "main", "--n", "1", "--output", "json"),
        "--output is an option of 'flyte run': put it before 'shop.py'",
    ),
    (("run", "shop.py", "--output", "json", "pair"), "--output is an option of 'flyte run': put it before 'shop.py'"),
    (("run", "shop.py", "--n", "1"), "the name of a task must come before --n: flyte run shop.py TASK --n ..."),
    (
        ("run", "--output", "jsn", "shop.py", "pair"),
        "Invalid value for '--output': 'jsn' is not one of text, json; did you mean 'json'?",
    ),
    (("run", "--env", "A", "shop.py", "pair"), "Invalid value for '--env' / '-e': 'A' is not of the form NAME=VALUE"),
    (
        ("run", "--name", "My_Run", "shop.py", "pair"),
        (
            "Invalid value for '--name': name='My_Run' is not a valid run name: use at most 30 lowercase letters, "
            "digits and '-', starting with a letter and not ending in '-'"
        ),
    ),
    (("run", "--nam", "x", "shop.py", "pair"), "No such option: --nam; did you mean '--name'?"),
    (("rum",), "No such command 'rum'. Did you mean 'run'?"),
]


@pytest.mark.parametrize(("args", "message"), MESSAGES, ids=[" ".join(args) for args, _ in MESSAGES])
def test_usage_error(run_flyte, folder, args, message):
    (folder / "deep").mkdir()
    (folder / "deep" / "shop.py").write_text("")
    done = run_flyte(*args)
    assert done.stderr.splitlines()[-1] == f"Error: {message}"
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_usage_error_names_the_users_own_command(run_flyte):
    done = run_flyte("run", "shop.py", "main", "--n", "x")
    assert done.stderr == (
        "Usage: flyte run shop.py main [OPTIONS]\n"
        "Try 'flyte run shop.py main --help' for help.\n"
        "\n"
        "Error: Invalid value for '--n': 'x' is not a valid int\n"
    )


def test_a_file_without_tasks(run_flyte, folder):
    (folder / "empty.py").write_text("x = 1\n")
    for args in (("run", "empty.py"), ("run", "empty.py", "main")):
        done = run_flyte(*args)
        assert done.returncode == 2
        assert done.stderr.endswith(
            "Error: 'empty.py' has no tasks; decorate a function with @env.task of a flyte.TaskEnvironment\n"
        )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("shop.py", "mian"), "'shop.py' has no task 'mian'; did you mean 'main'?"),
        (("shop.py", "main", "--n", "x"), "Invalid value for '--n': 'x' is not a valid int"),
        (("--nam", "x", "shop.py"), "No such option: --nam; did you mean '--name'?"),
    ],
)
def test_usage_error_as_json(run_flyte, args, message):
    done = run_flyte("run", "--output", "json", *args)
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "run": None,
        "phase": None,
        "outputs": None,
        "duration_s": 0.0,
        "error": {"type": "UsageError", "code": "UsageError", "kind": "user", "message": message},
    }


def test_help_of_a_task(run_flyte):
    done = run_flyte("run", "shop.py", "main", "--help")
    assert done.returncode == 0
    assert done.stdout == (
        "Usage: flyte run shop.py main [OPTIONS]\n"
        "\n"
        "  Add up squares.\n"
        "\n"
        "  They are computed side by side.\n"
        "\n"
        "Options:\n"
        "  --n <int>           how many numbers  [required]\n"
        "  --color RED|GREEN   [default: RED]\n"
        "  --my-scale <float>  factor of the result  [default: 1.0]\n"
        "  --loud / --no-loud  [default: no-loud]\n"
        "  -h, --help          Show this message and exit.\n"
    )


def test_help_of_run(run_flyte):
    done = run_flyte("run", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: flyte run [OPTIONS] FILE_OR_MODULE TASK [--PARAMETER VALUE]...\n")
    for option in ("--local / --remote", "--name NAME", "-e, --env NAME=VALUE", "--output text|json", "-v, --verbose"):
        assert f"  {option} " in done.stdout


def test_help_of_all(run_flyte):
    done = run_flyte("--help")
    assert done.returncode == 0
    commands = done.stdout.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in commands] == list(COMMANDS)
    assert commands[0].split(maxsplit=1)[1] == "Run a task of a file or module, and print what it returns."
    assert "--install-completion" in done.stdout


def test_parameters_may_be_called_like_our_own_options(run_flyte, folder):
    (folder / "names.py").write_text(
        "import flyte\nenv = flyte.TaskEnvironment(name='names')\n"
        "@env.task\n"
        "async def names(help: str, name: str, ctx: int, output: str, target: str = 't', version: bool = False):\n"
        "    print(help, name, ctx, output, target, version)\n"
    )
    given = ["--help", "h", "--name", "n", "--ctx", "1", "--output", "text", "--target", "x", "--version"]
    assert run_flyte("run", "names.py", "names", *given).stdout == "h n 1 text x True\n"
    assert "-h " in run_flyte("run", "names.py", "names", "-h").stdout
    assert run_flyte("run", "names.py", "names", "--help").stderr.endswith(
        "Error: Option '--help' requires an argument.\n"
    )
