"""Commands that installed packages add: found, run, listed, and their mistakes named."""

import textwrap

import pytest

MODULE = """
    import typer
    import click

    def plain(n: int, loud: bool = False) -> None:
        \"\"\"A function.\"\"\"
        print("plain", n, loud)

    app = typer.Typer()

    @app.command()
    def one() -> None:
        print("one of several")

    @app.command()
    def two(name: str = "x") -> None:
        print("two", name)

    @click.command()
    @click.option("--n", type=int, default=1)
    @click.argument("words", nargs=-1)
    def of_click(n, words):
        click.echo(f"click {n} {words}")

    number = 3
"""
ENTRIES = """
    [flyte.plugins.cli.commands]
    plain = commands:plain
    several = commands:app
    of-click = commands:of_click
    number = commands:number
    broken = commands.not_there:x
    get.bar = commands:plain
    run = commands:plain
"""


@pytest.fixture
def flyte(run_flyte, tmp_path):
    installed = tmp_path / "installed"
    info = installed / "tools-1.0.dist-info"
    info.mkdir(parents=True)
    (installed / "commands.py").write_text(textwrap.dedent(MODULE))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES))
    from cli_process import ROOT

    return lambda *words: run_flyte(*words, PYTHONPATH=f"{ROOT}:{installed}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plain", "3", "--loud"], "plain 3 True"),
        (["several", "two", "--name", "y"], "two y"),
        (["of-click", "--n", "7", "a", "-b"], None),
        (["of-click", "--n", "7", "a", "b"], "click 7 ('a', 'b')"),
    ],
)
def test_they_run(flyte, words, says):
    pytest.importorskip("click", reason="commands of Click need Click")
    done = flyte(*words)
    if says is None:
        assert done.returncode == 2 and "No such option" in done.stderr and "flyte of-click" in done.stderr
    else:
        assert done.returncode == 0 and done.stdout.strip() == says, done.stderr


def test_they_are_listed_and_hide_none_of_ours(flyte):
    shown = flyte("--help").stdout
    assert "Commands of installed packages" in shown
    for name in ("plain", "several", "of-click"):
        assert name in shown
    assert "get.bar" not in shown
    assert "o0: 7" in flyte("run", "shop.py", "pair").stdout


def test_their_mistakes_are_named(flyte):
    done = flyte("broken")
    assert done.returncode == 2 and "'broken' of the package tools cannot be loaded: ModuleNotFoundError" in done.stderr
    assert "must be a function or a command" in flyte("number").stderr
    assert "No such command 'plan-it'" in flyte("plan-it").stderr
