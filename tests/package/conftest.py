"""A container tool with a store of its own, a registry on loopback, and a base image made from Debian's packages.

Nothing of the machine's own images is read or changed. Where podman, debootstrap or docker-registry are not installed,
or the tests do not run as root, what needs them is skipped and says so; continuous integration installs them.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("podman", "buildah", "runc", "debootstrap", "docker-registry")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The name under which Image.from_debian_base(install_flyte=False) looks for it; what is in the store is not pulled.
BASE = "docker.io/library/python:3.11-slim-bookworm"


@dataclass(frozen=True)
class Machine:
    """What the tests of real builds are given.

    :param base: URI of the base image.
    :param registry: host and port.
    :param tar: the base's root file system.
    """

    base: str
    registry: str
    tar: Path

    def run(self, *argv, check=True):
        """Run podman; its standard output."""
        done = subprocess.run(["podman", *argv], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or not check, f"podman {argv}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout.strip()

    def import_base(self):
        """Put the root file system into the store as an image."""
        # The machine's own certificates: it may reach the package index through a proxy that has one of its own.
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        variables = [f"--change=ENV {name}={CERTIFICATES}" for name in names]
        self.run("import", "--quiet", *variables, str(self.tar), self.base)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"real image builds need root and {', '.join(missing) or 'nothing else'}; see .ci/run")
    top = tmp_path_factory.mktemp("containers")
    environment = pytest.MonkeyPatch()
    _write_configuration(top, environment)
    tar = _make_root(top)
    process, registry = _start_registry(top)
    try:
        machine = Machine(BASE, registry, tar)
        machine.import_base()
        yield machine
    finally:
        process.terminate()
        process.wait(timeout=10)
        subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True, timeout=120, check=False)
        subprocess.run(["umount", str(top / "store" / "overlay")], capture_output=True, timeout=20, check=False)
        environment.undo()


def _write_configuration(top, environment):
    (top / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{top}/store"\nrunroot = "{top}/run"\n'
    )
    # Also where a process may not raise its limits.
    (top / "containers.conf").write_text(
        '[containers]\nnetns = "host"\n'
        'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    environment.setenv("CONTAINERS_STORAGE_CONF", str(top / "storage.conf"))
    environment.setenv("CONTAINERS_CONF", str(top / "containers.conf"))
    environment.setenv("TMPDIR", str(top))
    if subprocess.run(["podman", "info"], capture_output=True, timeout=60, check=False).returncode != 0:
        text = (top / "storage.conf").read_text()  # the folder's file system cannot hold an overlay
        (top / "storage.conf").write_text(text.replace("overlay", "vfs"))


def _make_root(top):
    """A Debian with Python 3.11, as one archive."""
    root, tar = top / "root", top / "root.tar"
    # Debian's mirror that this machine takes its own packages from.
    wanted = ["--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Component: main"]
    mirrors = re.findall(
        r"^(https?://\S+/debian)/? bookworm$", _output("apt-get", "indextargets", *wanted), re.MULTILINE
    )
    mirror = mirrors[0] if mirrors else "http://deb.debian.org/debian"
    packages = "python3-venv,ca-certificates"
    # On a machine that is busy with other work this takes minutes.
    argv = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), mirror]
    _output(*argv, timeout_s=400)
    # Nobody reads these here, and they would be packed and pushed many times.
    for name in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    (root / "var/cache/apt/archives/partial").mkdir()
    certificates = os.environ.get("SSL_CERT_FILE") or CERTIFICATES
    if os.path.exists(certificates):
        shutil.copyfile(certificates, str(root) + CERTIFICATES)
    # The index that this machine takes packages from, for the two installers.
    index = os.environ.get("PIP_INDEX_URL") or _output("pip", "config", "get", "global.index-url", check=False)
    if index:
        (root / "etc" / "pip.conf").write_text(f"[global]\nindex-url = {index}\n")
        (root / "etc" / "uv").mkdir(exist_ok=True)
        (root / "etc" / "uv" / "uv.toml").write_text(f'[[index]]\nurl = "{index}"\ndefault = true\n')
    _output("tar", "--directory", str(root), "--create", "--file", str(tar), ".")
    shutil.rmtree(root)
    return tar


def _start_registry(top):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        registry = f"127.0.0.1:{one.getsockname()[1]}"
    configuration = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(top / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": registry},
    }
    # JSON is YAML.
    (top / "registry.yml").write_text(json.dumps(configuration))
    with open(top / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(top / "registry.yml")], stdout=log, stderr=log)
    host, _, port = registry.partition(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return process, registry
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (top / "registry.log").read_text()
            time.sleep(0.05)


def _output(*argv, check=True, timeout_s=180):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip() if done.returncode == 0 else ""
