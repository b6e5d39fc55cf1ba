"""What a maintainer runs: `nox` (tests, types, lint, examples), `nox -s benchmarks`, `nox -s build`.

Started from an environment that has the `dev` extra, the four quick sessions run in that very environment; started from
anywhere else, nox makes one for each. `benchmarks` and `build` always make their own, without the `dev` extra, because
they show what a user gets.
"""

import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "types", "lint", "examples"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
# The release that the benchmarks compare with.
PEER = "flyte==2.12.1"
# What the large values of S5 are made with, on both sides.
PAYLOADS = ("numpy", "pandas", "pyarrow")


def installed(*distributions: str) -> bool:
    try:
        return all(version(d) for d in distributions)
    except PackageNotFoundError:
        return False


HERE = installed("flyte", "pytest", "hypothesis", "mypy", "pyright", "ruff")
BACKEND = "none" if HERE else "venv"


def development(session: nox.Session) -> str:
    """The interpreter of an environment that holds the project and its ``dev`` extra."""
    if HERE:
        return sys.executable
    session.install("-q", "-e", ".[dev]")
    return str(Path(session.bin).absolute() / "python")


def run(session: nox.Session, *command: str | Path, **options: object) -> None:
    session.run(*map(str, command), external=True, **options)  # type: ignore[arg-type]


@nox.session(venv_backend=BACKEND)
def tests(session: nox.Session) -> None:
    """Run the tests: `nox -s tests -- tests/types -k dataclass`."""
    run(session, development(session), "-m", "pytest", *session.posargs)


@nox.session(venv_backend=BACKEND)
def chaos(session: nox.Session) -> None:
    """Kill processes at random moments, break connections at every message: `nox -s chaos -- --kills 10000 --seed 7`.

    Arguments go to the campaign of this machine's runs; `nox -s chaos -- plane --seed 7 kills --rounds 50` is that of a
    devbox, and so is `nox -s chaos -- plane wire --side client`.
    """
    python = development(session)
    if session.posargs[:1] == ["plane"]:
        run(session, python, "-m", "tests.chaos.plane", *session.posargs[1:])
        return
    for arguments in (
        [session.posargs]
        if session.posargs
        else [
            ["--kills", "1000"],
            ["--kills", "500", "--crowd", "8"],
            ["--kills", "40", "--workers", "2"],
        ]
    ):
        run(session, python, "tests/chaos/kill.py", *arguments)
    if not session.posargs:
        run(session, python, "-m", "tests.chaos.plane", "kills", "--rounds", "20")
        run(session, python, "-m", "tests.chaos.plane", "--seed", "100", "kills", "--rounds", "3", "--shipped")
        for side in ("container", "client"):
            run(session, python, "-m", "tests.chaos.plane", "wire", "--side", side)


@nox.session(venv_backend=BACKEND)
def types(session: nox.Session) -> None:
    """Check the package with mypy --strict and with pyright."""
    python = development(session)
    run(session, python, "-m", "mypy")
    run(session, python, "-m", "pyright", "--pythonpath", python)


@nox.session(venv_backend=BACKEND)
def lint(session: nox.Session) -> None:
    """Check style and likely bugs with ruff: `nox -s lint -- --fix`."""
    run(session, development(session), "-m", "ruff", "check", *session.posargs, ".")


@nox.session(venv_backend=BACKEND)
def examples(session: nox.Session) -> None:
    """Run every example as its reader would, each in a process of its own."""
    python = development(session)
    scripts = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("examples/*/main.py")])
    if not scripts:
        session.error("no examples found in examples/")
    # A history of their own: the examples say "last", and leave nothing with the user.
    home = {"FLYTE_HOME": str(Path(session.create_tmp()).absolute() / "home")}
    for script in scripts:
        run(session, python, script.relative_to(ROOT), env=home)


@nox.session(venv_backend="venv")
def benchmarks(session: nox.Session) -> None:
    """Do the same work on this checkout, on the published package and on bare asyncio, side by side.

    Arguments go to the harness: `nox -s benchmarks -- --reps 9 --scenario S1:1000`.
    """
    session.install("-q", ".", *PAYLOADS)
    peer = Path(session.virtualenv.location).absolute().with_name("benchmarks-peer")
    peer_python = peer / "bin" / "python"
    if not peer_python.exists():
        run(session, sys.executable, "-m", "venv", peer)
    run(session, peer_python, "-m", "pip", "install", "-q", PEER, "pydantic", *PAYLOADS)
    ours = Path(session.bin).absolute() / "python"
    run(session, ours, "tests/benchmarks/compare.py", "--ours", ours, "--peer", peer_python, *session.posargs)


@nox.session(venv_backend="venv")
def build(session: nox.Session) -> None:
    """Build wheel and sdist, install the wheel where nothing else is, and run the main job with it."""
    session.install("-q", "build")
    scratch = Path(session.create_tmp()).absolute()
    dist = scratch / "dist"
    for old in dist.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    if not list(dist.glob("*.tar.gz")):
        session.error("no sdist was built")
    names = zipfile.ZipFile(wheel).namelist()
    if "flyte/py.typed" not in names or any(not n.startswith(("flyte/", "flyte-")) for n in names):
        session.error(f"the wheel holds the wrong files: {sorted({n.split('/')[0] for n in names})}")
    clean = scratch / "clean"
    run(session, sys.executable, "-m", "venv", "--clear", clean)
    run(session, clean / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    session.chdir(clean)  # away from the checkout, so that only the wheel can be imported
    run(session, clean / "bin" / "flyte", "--version")
    run(session, clean / "bin" / "flyte", "run", "hello")
