"""Starting, finding, stopping and removing the devbox of a user, from outside its process. Loads nothing heavy."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte._core.home import home_dir

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 15.0
"""How long a devbox may take; its attempts may clean up for some seconds."""


class DevboxError(Exception):
    """The devbox cannot do what was asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a devbox stands.

    :param endpoint: where it listens; what it last said if it does not run.
    :param pid: its process; None if it does not run.
    :param started_at: seconds since the epoch.
    :param version: of flyte, as it runs.
    :param http_endpoint: where it speaks the Connect protocol, as the published SDK does.
    :param warm: attempts are forked from a process that is loaded already.
    """

    folder: Path
    running: bool
    endpoint: str = ""
    pid: int | None = None
    started_at: float | None = None
    version: str = ""
    http_endpoint: str = ""
    warm: bool = False


def devbox_dir() -> Path:
    """Where the user's devbox keeps everything."""
    return (home_dir() / "devbox").resolve()


def read_endpoint(folder: Path) -> dict[str, Any] | None:
    """What the devbox of ``folder`` last said of where it listens; None if it never did."""
    try:
        found = json.loads((folder / "endpoint.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def take_lock(folder: Path) -> int:
    """Take the lock that a devbox holds while it runs, and give its descriptor; -1 if another process has it."""
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def standing(folder: Path | None = None) -> Standing:
    """How the devbox of ``folder`` stands; of the user's own if none is given."""
    folder = folder or devbox_dir()
    said = read_endpoint(folder) or {}
    running = _is_running(folder)
    return Standing(
        folder,
        running,
        str(said.get("endpoint", "")),
        int(said["pid"]) if running and "pid" in said else None,
        float(said["started_at"]) if running and "started_at" in said else None,
        str(said.get("version", "")),
        f"http://127.0.0.1:{said['http_port']}" if "http_port" in said else "",
        running and bool(said.get("warm")),
    )


def _is_running(folder: Path) -> bool:
    if not (folder / "lock").exists():
        return False
    descriptor = take_lock(folder)
    if descriptor >= 0:
        os.close(descriptor)
        return False
    return True


def start(
    folder: Path | None = None,
    *,
    port: int = 0,
    places: int = 0,
    cpus: float = 0,
    memory: str = "",
    no_token: bool = False,
    warm: bool = True,
) -> tuple[Standing, bool]:
    """Start the user's devbox as a process of its own, and wait until it answers; whether it was started now.

    :param port: where to listen on 127.0.0.1; 0 for where it last did.
    :param places: how many attempts may work at the same time; 0 for twice the processors.
    :param cpus: how many processors these may ask for together; 0 for as many as there are.
    :param memory: how much memory they may ask for together, such as ``16Gi``; empty for as much as there is.
    :param no_token: serve every process of this machine, whatever it shows.
    :param warm: fork attempts from a process that is loaded already, rather than start each as a new one.
    :raises DevboxError: it ended, or was not ready within 30 s; its log says why.
    """
    folder = folder or devbox_dir()
    if _is_running(folder):
        return standing(folder), False
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "devbox.log"
    words = [*(("--port", str(port)) if port else ()), *(("--places", str(places)) if places else ())]
    words += [*(("--cpus", str(cpus)) if cpus else ()), *(("--memory", memory) if memory else ())]
    words += ["--no-token"] if no_token else []
    words += [] if warm else ["--no-warm"]
    with log.open("ab") as out:
        begins = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "flyte.devbox", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**os.environ, "FLYTE_HOME": str(folder.parent)},
            start_new_session=True,
        )
    until = time.monotonic() + READY_WITHIN_S
    while (read_endpoint(folder) or {}).get("pid") != process.pid:
        code = process.poll()
        if code is not None:
            with log.open("rb") as lines:
                lines.seek(begins)
                said = lines.read()[-2000:].decode(errors="replace").strip()
            raise DevboxError(f"the devbox ended with exit code {code}: {said or f'see {log}'}")
        if time.monotonic() > until:
            process.kill()
            raise DevboxError(f"the devbox was not ready within {READY_WITHIN_S:g} s; see {log}")
        time.sleep(0.01)
    process.returncode = 0  # it goes on when this process has ended, and nobody waits for it
    return standing(folder), True


def stop(folder: Path | None = None) -> bool:
    """Stop the user's devbox and the attempts that it runs; whether it ran. The next one goes on where it was.

    :raises DevboxError: it did not end within 15 s.
    """
    folder = folder or devbox_dir()
    found = standing(folder)
    if not found.running:
        return False
    if found.pid is None:
        raise DevboxError(f"a devbox holds {folder / 'lock'}, but has not said which process it is; try again")
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    until = time.monotonic() + STOPPED_WITHIN_S
    while _is_running(folder):
        if time.monotonic() > until:
            raise DevboxError(
                f"the devbox, process {found.pid}, did not end within {STOPPED_WITHIN_S:g} s; see "
                f"{folder / 'devbox.log'}, or end it with kill -9 {found.pid}: nothing is lost by that"
            )
        time.sleep(0.02)
    return True


def delete(folder: Path | None = None) -> bool:
    """Remove the user's devbox with all its runs, results and secrets; whether there was one.

    :raises DevboxError: it runs.
    """
    folder = folder or devbox_dir()
    if not folder.exists():
        return False
    descriptor = take_lock(folder)
    if descriptor < 0:
        raise DevboxError(f"the devbox of {folder} runs; stop it first: flyte stop devbox")
    try:
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
    return True
