"""An image made of this machine's own shell and a few programs, in a store of its own; nothing is fetched.

Where podman is not installed, or the tests do not run as root, what needs it is skipped and says so.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

IMAGE = "localhost/flyte-test-shell:1"
PROGRAMS = ("sh", "bash", "cat", "sleep", "wc", "ls", "env", "cp", "mkdir", "ln", "id", "tr", "seq")


@pytest.fixture(scope="module")  # not longer: other tests have a store of their own, by the same variables
def shell_image(tmp_path_factory) -> str:
    """The URI of the image."""
    missing = [name for name in ("podman", "runc") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"containers need root and {', '.join(missing) or 'nothing else'}; apt-get install podman runc")
    top = tmp_path_factory.mktemp("shell-image")
    with pytest.MonkeyPatch.context() as environment:
        _write_configuration(top, environment)
        _copy_programs(top / "root")
        tar = top / "root.tar"
        _run("tar", "--directory", str(top / "root"), "--create", "--file", str(tar), ".")
        _run("podman", "import", "--quiet", "--change", "ENV PATH=/bin", str(tar), IMAGE)
        yield IMAGE
        _run("podman", "rm", "--all", "--force", check=False)
        _run("podman", "rmi", "--all", "--force", check=False)
        _run("umount", str(top / "store" / "overlay"), check=False)


def _write_configuration(top: Path, environment: pytest.MonkeyPatch) -> None:
    (top / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{top}/store"\nrunroot = "{top}/run"\n')
    # Also where a process may not raise its limits, or make networks.
    (top / "containers.conf").write_text(
        '[containers]\nnetns = "none"\n'
        'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    environment.setenv("CONTAINERS_STORAGE_CONF", str(top / "storage.conf"))
    environment.setenv("CONTAINERS_CONF", str(top / "containers.conf"))
    environment.setenv("FLYTE_CONTAINER_ENGINE", "podman")


def _copy_programs(root: Path) -> None:
    for folder in ("bin", "etc", "tmp", "var", "proc", "sys", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nother:x:1234:1234::/:/bin/sh\n")
    for name in PROGRAMS:
        source = shutil.which(name)
        assert source is not None, name
        shutil.copy(os.path.realpath(source), root / "bin" / name)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+)", listed):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy(os.path.realpath(library), target)


def _run(*argv: str, check: bool = True) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
