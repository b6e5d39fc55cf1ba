"""Secrets as files: there while the attempt runs, for it alone, and nowhere else."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.core.security_pb2 import Secret
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.secret import payload_pb2 as secrets
from flyteidl2.workflow import run_service_pb2 as service

from flyte._package.bundle import build_bundle
from flyte.devbox._mounts import Mounts

from .conftest import connected, number
from .test_restart import wait_for

FLOW = """
    import asyncio, hashlib, json, os
    from pathlib import Path
    import flyte

    env = flyte.TaskEnvironment("shop")

    def digest(value):
        return hashlib.sha256(value).hexdigest()

    @env.task
    async def reads(x: int) -> str:
        folder = Path(os.environ["FLYTE_SECRETS_DEFAULT_DIR"])
        found = {
            str(path.relative_to(folder)): [digest(path.read_bytes()), oct(path.stat().st_mode & 0o777)]
            for path in sorted(folder.rglob("*")) if path.is_file()
        }
        if mark := os.environ.get("MARK"):
            Path(mark).write_text(str(os.getpid()))
            await asyncio.sleep(x)
        named = ("NAMED", "CERT", "API_TOKEN")
        digests = {n: digest(v.encode()) for n, v in os.environ.items() if n in named}
        return json.dumps([str(folder), oct(folder.stat().st_mode & 0o777), found, digests])
"""
VALUE = "canary-7f3a9c-\u00e4\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("project")
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    return str(build_bundle(folder, tmp_path_factory.mktemp("bundles"), style="all").tgz)


def wanting(spec, *asked: dict[str, str]):
    for one in asked:
        spec.task_template.security_context.secrets.add(mount_requirement=Secret.MountType.FILE, **one)
    return spec


async def keep(client, name: str, value: bytes) -> None:
    identity = {"name": name, "project": "p", "domain": "d"}
    await client.secrets.CreateSecret(secrets.CreateSecretRequest(id=identity, secret_spec={"binary_value": value}))


async def said(client, run):
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED, details.error_info
    answer = await client.data.GetActionData(data.GetActionDataRequest(action_id={"run": run, "name": "a0"}))
    return json.loads(answer.outputs.literals[0].value.scalar.primitive.string_value)


def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


async def test_files_are_there_for_the_attempt_alone_and_gone_after_it(devbox, spec_of, tmp_path):
    (tmp_path / "secrets" / "api").mkdir(parents=True)
    (tmp_path / "secrets" / "api" / "here").write_text("of this machine\n")
    devbox.start()
    async with connected(devbox.folder) as client:
        await keep(client, "cert", VALUE.encode())
        await keep(client, "api_token", b"\x00\xff\n")
        spec = wanting(
            spec_of("reads"), {"key": "cert", "env_var": "NAMED"}, {"group": "api", "key": "token"},
            {"group": "api", "key": "here"}, {"key": "nowhere"}, {"key": "tls.crt"},
        )  # fmt: skip
        folder, mode, found, variables = await said(client, await client.run(spec, number(0)))
    assert mode == "0o700" and Path(folder).parent == devbox.folder / "secrets"
    assert found == {
        "cert": [digest(VALUE.encode()), "0o600"],
        "api/token": [digest(b"\x00\xff\n"), "0o600"],
        "api/here": [digest(b"of this machine"), "0o600"],
    }
    assert variables == {"NAMED": digest(VALUE.encode())}, "a file is a variable as well only where it is named"
    assert list((devbox.folder / "secrets").iterdir()) == []
    devbox.stop()
    # In the store of secrets, where it was put, and nowhere else.
    holders = subprocess.run(
        ["grep", "-rlF", "canary-7f3a9c", str(devbox.home)], capture_output=True, text=True, check=False
    )
    assert {Path(line).name for line in holders.stdout.split()} <= {"devbox.db", "devbox.db-wal"}


@pytest.mark.parametrize("how", ["killed", "aborted", "stopped", "devbox killed", "both killed"])
async def test_however_an_attempt_ends_its_files_go(devbox, spec_of, tmp_path, how):
    devbox.start()
    kept = devbox.folder / "secrets"
    async with connected(devbox.folder) as client:
        await keep(client, "cert", VALUE.encode())
        spec = wanting(spec_of("reads", {"MARK": str(tmp_path / "mark")}), {"key": "cert"})
        run = await client.run(spec, number(3 if how == "devbox killed" else 60))
        pid = int(wait_for(tmp_path / "mark"))
        (before,) = kept.iterdir()
        if how == "killed":
            (tmp_path / "mark").unlink()
            os.kill(pid, signal.SIGKILL)
            wait_for(tmp_path / "mark")  # it is tried again, in a folder of its own
            (after,) = kept.iterdir()
            assert after != before
        if how in ("killed", "aborted"):
            await client.runs.AbortRun(service.AbortRunRequest(run_id=run))
            await client.wait(run)
    if how == "devbox killed":
        devbox.kill()
        devbox.start()
        assert list(kept.iterdir()) == [before], "the attempt goes on, and needs them"
        async with connected(devbox.folder) as client:
            await said(client, run)
    elif how == "both killed":
        devbox.kill()
        os.kill(pid, signal.SIGKILL)
        (tmp_path / "mark").unlink()
        devbox.start()
        wait_for(tmp_path / "mark")
        assert before not in list(kept.iterdir())
    if how in ("stopped", "both killed"):
        devbox.stop()
    await gone(kept)


async def gone(folder: Path) -> None:
    async with asyncio.timeout(15):
        while list(folder.iterdir()):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("asked", [{"key": ".."}, {"group": "..", "key": "x"}, {"key": "a/../../b"}, {"key": "/etc/x"}])
async def test_no_name_leads_out_of_the_folder(client, spec_of, asked):
    details = await client.wait(await client.run(wanting(spec_of("reads"), asked), number(0)))
    assert (details.status.phase, details.error_info.code) == (P.ACTION_PHASE_FAILED, "SecretNotFound")
    assert "cannot be a file" in details.error_info.message


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    mounts = Mounts(tmp_path / "secrets")
    with pytest.raises(OSError):
        mounts.put("one", {"a": b"1", "a/b": b"2"})
    assert list((tmp_path / "secrets").iterdir()) == []
    mounts.put("two", {"a": b"1"})
    assert (mounts.put("two", {"b": b"2"}) / "b").read_bytes() == b"2"
    assert [path.name for path in (tmp_path / "secrets" / "two").iterdir()] == ["b"]
