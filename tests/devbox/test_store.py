"""The database: groups, order, refusals, and what a kill leaves."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from flyte.devbox._schema import MIGRATIONS
from flyte.devbox._store import Store
from flyte.devbox._watch import Changes

PUT = "INSERT INTO setting VALUES (?, ?)"


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "x.db")
    yield opened
    opened.close()


async def test_writes_keep_their_order_and_are_read_when_done(store):
    await asyncio.gather(*(store.write((PUT, (f"n{n:04}", str(n)))) for n in range(2000)))
    rows = store.rows("SELECT value FROM setting ORDER BY name")
    assert [row["value"] for row in rows] == [str(n) for n in range(2000)]


async def test_a_write_is_done_whole_or_not_at_all(store):
    await store.write((PUT, ("a", "1")))
    results = await asyncio.gather(
        store.write((PUT, ("b", "1"))),
        store.write((PUT, ("c", "1")), (PUT, ("a", "2"))),
        store.write((PUT, ("d", "1"))),
        return_exceptions=True,
    )
    assert results[0] is None and results[2] is None and isinstance(results[1], sqlite3.IntegrityError)
    assert [row["name"] for row in store.rows("SELECT name FROM setting ORDER BY name")] == ["a", "b", "d"]


def test_a_setting_is_made_once(tmp_path):
    for made in ("first", "second"):
        store = Store(tmp_path / "x.db")
        assert store.setting("key", lambda made=made: made) == "first"
        store.close()


def test_a_newer_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(RuntimeError, match="newer release"):
        Store(path)


async def test_after_close_nothing_is_taken(tmp_path):
    store = Store(tmp_path / "x.db")
    waiting = asyncio.create_task(store.write((PUT, ("a", "1"))))
    await asyncio.sleep(0)
    store.close()
    await waiting
    with pytest.raises(RuntimeError, match="stopping"):
        await store.write((PUT, ("b", "1")))


WRITER = """
import asyncio, sys
from pathlib import Path
from flyte.devbox._store import Store

async def main():
    store = Store(Path(sys.argv[1]))
    n = 0
    while True:
        await store.write(("INSERT INTO setting VALUES (?, ?)", (f"n{n:06}", "x" * 200)))
        print(n, flush=True)
        n += 1

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    path = tmp_path / "x.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=10)
    last = int(said.split()[-1])
    store = Store(path)
    try:
        found = [row["name"] for row in store.rows("SELECT name FROM setting ORDER BY name")]
        assert len(found) >= last + 1 and found == [f"n{n:06}" for n in range(len(found))]
    finally:
        store.close()


async def test_a_slow_subscriber_gets_the_last_state_of_each():
    changes = Changes()
    with changes.subscribed("topic") as subscription:
        for n in range(1000):
            changes.publish("topic", n % 3, n)
        assert await subscription.take() == {0: 999, 1: 997, 2: 998}
        assert await subscription.take(0.01) == {}
        asyncio.get_running_loop().call_later(0.01, changes.publish, "topic", "k", "v")
        assert await subscription.take(5) == {"k": "v"}
    assert not changes.is_watched("topic")
