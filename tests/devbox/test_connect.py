"""The Connect protocol as a plain HTTP client speaks it (wire-protocol section 2.1): messages, streams, refusals."""

import asyncio
import gzip
import json
import struct
from pathlib import Path

import httpx
import pytest
from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.project import project_service_pb2 as projects
from flyteidl2.workflow import run_service_pb2 as service

from flyte.devbox._lifecycle import read_endpoint

from .conftest import PHASE, number

LIST = "/flyteidl2.project.ProjectService/ListProjects"
WATCH = "/flyteidl2.workflow.RunService/WatchActionDetails"


@pytest.fixture
async def http(shared_home):
    said = read_endpoint(shared_home.folder)
    token = (shared_home.folder / "token").read_text()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{said['http_port']}",
        headers={"authorization": f"Bearer {token}", "content-type": "application/proto"},
        timeout=30,
    ) as client:
        yield client


def envelope(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def opened(raw: bytes) -> list[tuple[int, bytes]]:
    found = []
    while raw:
        flags, size = struct.unpack_from(">BI", raw)
        found.append((flags, raw[5 : 5 + size]))
        raw = raw[5 + size :]
    return found


async def watch(http: httpx.AsyncClient, action: ActionIdentifier, flags: int = 0) -> list[tuple[int, bytes]]:
    message = service.WatchActionDetailsRequest(action_id=action).SerializeToString()
    headers = {"content-type": "application/connect+proto", "connect-content-encoding": "gzip"}
    body = envelope(gzip.compress(message) if flags else message, flags)
    answer = await http.post(WATCH, content=body, headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/connect+proto"
    return opened(answer.content)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_call(http, packed):
    message = projects.ListProjectsRequest(limit=10).SerializeToString()
    answer = await http.post(
        LIST,
        content=gzip.compress(message) if packed else message,
        headers={"content-encoding": "gzip"} if packed else {},
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/proto"
    listed = projects.ListProjectsResponse.FromString(answer.content)
    assert "flytesnacks" in [one.id for one in listed.projects.projects]


async def test_a_body_in_chunks_and_several_calls_on_one_connection(http):
    async def chunks():
        message = gzip.compress(projects.ListProjectsRequest(limit=10).SerializeToString())
        for at in range(0, len(message), 7):
            yield message[at : at + 7]

    for _ in range(3):
        answer = await http.post(LIST, content=chunks(), headers={"content-encoding": "gzip"})
        assert answer.status_code == 200 and projects.ListProjectsResponse.FromString(answer.content).projects.projects


async def test_a_large_answer_is_packed(http, client, spec_of):
    run = await client.run(spec_of("double"))
    await client.wait(run)
    request = data.UploadInputsRequest(
        inputs={"literals": [{"name": "x", "value": {"scalar": {"primitive": {"string_value": "y" * 200_000}}}}]}
    )
    request.project_id.organization, request.project_id.name, request.project_id.domain = "me", "p", "d"
    answer = await http.post(
        "/flyteidl2.dataproxy.DataProxyService/UploadInputs", content=gzip.compress(request.SerializeToString()),
        headers={"content-encoding": "gzip"},
    )  # fmt: skip
    uploaded = data.UploadInputsResponse.FromString(answer.content).offloaded_input_data
    created = service.CreateRunRequest(task_spec=spec_of("double"), offloaded_input_data=uploaded)
    created.project_id.organization, created.project_id.name, created.project_id.domain = "me", "p", "d"
    answer = await http.post("/flyteidl2.workflow.RunService/CreateRun", content=created.SerializeToString())
    action = service.CreateRunResponse.FromString(answer.content).run.action.id
    asked = data.GetActionDataRequest(action_id=action).SerializeToString()
    answer = await http.post("/flyteidl2.dataproxy.DataProxyService/GetActionData", content=asked)
    assert answer.headers["content-encoding"] == "gzip"
    found = data.GetActionDataResponse.FromString(answer.content)
    assert found.inputs.literals[0].value.scalar.primitive.string_value == "y" * 200_000


@pytest.mark.parametrize("flags", [0, 1])
async def test_a_stream_gives_every_change_and_ends(http, client, spec_of, flags):
    run = await client.run(spec_of("double"), number(4))
    *messages, (last, end) = await watch(http, ActionIdentifier(run=run, name="a0"), flags)
    phases = [service.WatchActionDetailsResponse.FromString(one).details.status.phase for _, one in messages]
    assert phases[-1] == PHASE.ACTION_PHASE_SUCCEEDED and phases == sorted(phases)
    assert [one for one, _ in messages] == [0] * len(messages)
    assert (last, json.loads(end)) == (2, {})


async def test_a_stream_that_fails_says_why_in_its_end(http):
    action = ActionIdentifier(run={"project": "p", "domain": "d", "name": "nowhere"}, name="a0")
    [(flags, end)] = await watch(http, action)
    error = json.loads(end)["error"]
    assert flags == 2 and error["code"] == "not_found" and "nowhere" in error["message"]


async def test_a_client_that_goes_away_ends_its_stream(http, client, spec_of, shared_home):
    run = await client.run(spec_of("sleeps"), number(30))
    message = service.WatchActionDetailsRequest(action_id={"run": run, "name": "a0"}).SerializeToString()
    headers = {"content-type": "application/connect+proto"}
    async with http.stream("POST", WATCH, content=envelope(message), headers=headers) as answer:
        async for _ in answer.aiter_raw():
            break
    await http.aclose()
    port = read_endpoint(shared_home.folder)["http_port"]
    async with asyncio.timeout(10):
        while _connections(shared_home.process.pid, port):
            await asyncio.sleep(0.05)
    await client.runs.AbortRun(service.AbortRunRequest(run_id=run, reason="enough"))


def _connections(pid: int, port: int) -> int:
    """How many established connections the devbox has at its HTTP port, as the kernel lists them."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in rows)


@pytest.mark.parametrize(
    ("change", "status", "code", "says"),
    [
        ({"headers": {"authorization": "Bearer wrong"}}, 401, "unauthenticated", "--no-token"),
        ({"headers": {"authorization": ""}}, 401, "unauthenticated", "devbox/token"),
        ({"url": "/flyteidl2.project.ProjectService/Nothing"}, 501, "unimplemented", "Nothing"),
        ({"url": "/"}, 501, "unimplemented", "does not serve /"),
        ({"url": "/flyteidl2.cluster.ClusterService/GetClusterConfig"}, 501, "unimplemented", "does not serve"),
        ({"url": WATCH}, 501, "unimplemented", "WatchActionDetails"),
        ({"headers": {"content-type": "application/json"}}, 400, "invalid_argument", "application/proto"),
        ({"headers": {"content-encoding": "br"}}, 501, "unimplemented", "'br'"),
        ({"headers": {"content-encoding": "gzip"}, "content": b"no gzip"}, 400, "invalid_argument", "no gzip"),
        (
            {"headers": {"content-encoding": "gzip"}, "content": gzip.compress(b"x" * 99)[:-4]},
            400, "invalid_argument", "cut off",
        ),
        ({"content": b"\xff\xff"}, 400, "invalid_argument", "cannot be read"),
        (
            {"url": "/flyteidl2.project.ProjectService/GetProject",
             "content": projects.GetProjectRequest(id="none").SerializeToString()},
            404, "not_found", "'none'",
        ),
        (
            {"url": "/flyteidl2.project.ProjectService/CreateProject",
             "content": projects.CreateProjectRequest(project={"id": "flytesnacks"}).SerializeToString()},
            409, "already_exists", "flytesnacks",
        ),
    ],
)  # fmt: skip
async def test_refusals(http, change, status, code, says):
    answer = await http.post(**{"url": LIST, "content": b"", **change})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code) and says in document["message"]


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\5abc", envelope(b"") + b"more"])
async def test_a_stream_wants_one_message(http, body):
    answer = await http.post(WATCH, content=body, headers={"content-type": "application/connect+proto"})
    [(flags, end)] = opened(answer.content)
    assert flags == 2 and json.loads(end)["error"]["code"] == "invalid_argument"


@pytest.mark.parametrize("size", [b"-5", b"+5", b"", b"x", b"0x5"])
async def test_the_length_of_a_chunk_is_a_plain_number(http, shared_home, size):
    port = read_endpoint(shared_home.folder)["http_port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    token = (shared_home.folder / "token").read_text()
    head = f"POST {LIST} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + size + b"\r\nabcde\r\n")
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_who_has_no_token_is_not_listened_to(shared_home):
    """The answer comes before the body, of which nothing is kept, and ends the connection."""
    port = read_endpoint(shared_home.folder)["http_port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {LIST} HTTP/1.1\r\nContent-Length: 250000000\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_another_method_is_refused(http):
    answer = await http.delete("/")
    assert answer.status_code == 405


async def test_without_token_everybody_is_served_over_both_protocols(devbox):
    devbox.start("--no-token")
    said = read_endpoint(devbox.folder)
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.post(
            f"http://127.0.0.1:{said['http_port']}{LIST}", headers={"content-type": "application/proto"}
        )
    assert answer.status_code == 200
    from .conftest import connected

    async with connected(devbox.folder, token="none") as client:
        assert (await client.projects.ListProjects(projects.ListProjectsRequest())).projects.projects
