"""Names of actions: deterministic, independent of arrival order, as wire-protocol section 6.2 defines them."""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte._core.identity import base36, child_name, hash_data, random_run_name

env = flyte.TaskEnvironment(name="names")


@env.task
async def name_of(x: int) -> str:
    return flyte.ctx().action.name


@env.task
async def slow_name_of(x: int, delay_s: float) -> str:
    await asyncio.sleep(delay_s)
    return await name_of(x)


@env.task
async def in_order(order: list[int]) -> dict[str, str]:
    names = await asyncio.gather(*[name_of(x) for x in order])
    return {str(x): name for x, name in zip(order, names, strict=True)}


def test_names_do_not_depend_on_the_order_of_calls():
    order = list(range(30))
    expected = flyte.run(in_order.override(short_name="first"), order=order).result
    for seed in range(3):
        random.Random(seed).shuffle(order)

        @env.task
        async def arrivals(order: list[int], seed: int) -> dict[str, str]:
            async def late(x: int) -> str:
                await asyncio.sleep(random.Random(seed * 100 + x).random() / 50)
                return await name_of(x)

            names = await asyncio.gather(*[late(x) for x in order])
            return {str(x): name for x, name in zip(order, names, strict=True)}

        assert flyte.run(arrivals, order=order, seed=seed).result == expected


def test_equal_calls_are_numbered_and_groups_and_parents_tell_apart():
    @env.task
    async def root() -> list[str]:
        first = await name_of(1)
        second = await name_of(1)
        with flyte.group("g"):
            grouped = await name_of(1)
        other = await name_of(2)
        below = await slow_name_of(1, 0.0)
        return [first, second, grouped, other, below]

    names = flyte.run(root).result
    assert len(set(names)) == 5
    assert all(len(n) <= 25 and n.isalnum() and n == n.lower() for n in names)
    assert flyte.run(root).result == names
    assert flyte.run(name_of, 1).result == "a0"


def test_names_are_equal_in_another_process_and_hash_seed(tmp_path: Path):
    program = tmp_path / "flow.py"
    program.write_text(
        "import asyncio, flyte, json\n"
        "env = flyte.TaskEnvironment(name='golden')\n"
        "@env.task\n"
        "async def leaf(x: int, tags: dict[str, int]) -> str:\n"
        "    return flyte.ctx().action.name\n"
        "@env.task\n"
        "async def root() -> list[str]:\n"
        "    return list(await asyncio.gather(*[leaf(i, {'b': i, 'a': 1}) for i in range(3)]))\n"
        "if __name__ == '__main__':\n"
        "    print(json.dumps(flyte.run(root).result))\n"
    )
    seen = set()
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, str(program)],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1 and len(json.loads(seen.pop())) == 3


def test_the_recipe_written_out():
    """The definition of section 6.2, once more, from the standard library alone."""
    inputs_hash = b64encode(hashlib.sha256(b"x:abc;").digest()).decode()
    assert hash_data(b"x:abc;") == inputs_hash
    digest = hashlib.md5(f"a0-{inputs_hash}-id-2-grp".encode()).digest()
    number = int.from_bytes(digest, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    assert child_name("a0", inputs_hash, "id", 2, "grp") == digits


@given(st.binary(min_size=1, max_size=16))
def test_base36_is_the_integer_in_base_36(digest: bytes):
    assert int(base36(digest), 36) == int.from_bytes(digest, "big")


def test_random_run_names_are_valid():
    names = {random_run_name() for _ in range(1000)}
    assert len(names) == 1000
    assert all(len(n) == 20 and n[0] == "r" and n.isalnum() for n in names)


def test_functions_without_source_are_told_apart_by_their_constants():
    names = set()
    for body in ("1", "2", "x", "[i for i in range(3)]", "[i for i in range(4)]", "'a' in {'a', 'b'}"):
        found: dict[str, Any] = {"env": flyte.TaskEnvironment(name="typed"), "flyte": flyte}
        exec(
            f"@env.task\nasync def leaf(x: int) -> str:\n    {body}\n    return flyte.ctx().action.name\n"
            "@env.task\nasync def root() -> str:\n    return await leaf(1)",
            found,
        )
        first, again = flyte.run(found["root"]).result, flyte.run(found["root"]).result
        assert first == again
        names.add(first)
    # A constant that is not used leaves no trace in the code: the first two and the third are one.
    assert len(names) >= 4
