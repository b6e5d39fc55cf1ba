"""Values that only pickle can carry: the closed set without running code, the others by declaration and policy."""

import asyncio
import datetime
import decimal
import pathlib
import pickle
import subprocess
import sys
import typing
import uuid
from typing import Any

import numpy as np
import pytest

from flyte.errors import TypeTransformerFailedError
from flyte.types import FlytePickle
from flyte.types._annotations import pickle_policy, pickled_parts
from flyte.types._engine import codec_for
from flyte.types._equality import same
from flyte.types._hashing import canonical_bytes
from flyte.types._pickle import INLINE_BYTES, raw_data_path


class Opaque:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.a == self.a

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def raw(tmp_path):
    token = raw_data_path.set(str(tmp_path / "raw"))
    yield tmp_path / "raw"
    raw_data_path.reset(token)


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_large_pickles_go_to_a_file_once(raw):
    for annotation, value in ((Opaque, Opaque("x" * 20_000)), (bytes, b"x" * 20_000)):
        codec = codec_for(annotation)
        first, second = codec.encode(value), codec.encode(value)
        assert first.scalar.blob.metadata.type.format == "PythonPickle"
        assert first.scalar.blob.uri == second.scalar.blob.uri
        assert canonical_bytes(first) == canonical_bytes(second) == first.hash.encode()
        assert codec.decode(first) == value
        # What other readers of such files expect: one whole pickle.
        assert pickle.loads(pathlib.Path(first.scalar.blob.uri).read_bytes()) == value
    assert len(files(raw)) == 2


def test_the_limit_counts_the_bytes_of_the_pickle(raw):
    overhead = len(pickle.dumps(b"x" * 1000, protocol=5)) - 1000
    codec = codec_for(bytes)
    assert codec.encode(b"x" * (INLINE_BYTES - overhead)).scalar.HasField("binary")
    assert codec.encode(b"x" * (INLINE_BYTES - overhead + 1)).scalar.HasField("blob")


@pytest.mark.parametrize(
    "annotation", [bytes, bytes | None, list[bytes], dict[str, bytes], list[bytes | int] | None], ids=str
)
def test_a_transfer_writes_nothing(annotation, raw):
    large: Any = b"x" * 20_000
    codec = codec_for(annotation)
    if "dict" in str(annotation):
        large = {"a": large}
    elif "list" in str(annotation):
        large = [large]
    received, data = codec.transfer(large)
    assert received == large
    assert files(raw) == []
    assert asyncio.run(codec.transfer_async(large)) == (received, data)
    assert files(raw) == []
    # The same bytes as the literal whose content is in a file of a random name.
    assert data == canonical_bytes(codec.encode(large))
    assert len(files(raw)) == 1


def test_a_file_uri_and_other_schemes(tmp_path):
    token = raw_data_path.set(f"file://{tmp_path}/with space")
    try:
        literal = codec_for(bytes).encode(b"x" * 20_000)
        assert codec_for(bytes).decode(literal) == b"x" * 20_000
    finally:
        raw_data_path.reset(token)
    token = raw_data_path.set("ftp://bucket/prefix")
    try:
        with pytest.raises(ValueError, match="unknown scheme 'ftp'"):
            codec_for(bytes).encode(b"x" * 20_000)
    finally:
        raw_data_path.reset(token)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 65_537, 1 << 20])
def test_bytes_are_pickled_as_pickle_does_it(size):
    value = b"x" * size
    assert codec_for(bytes).dump(value).whole() == pickle.dumps(value, protocol=5)


@pytest.mark.parametrize("size", [10, 5_000, 500_000])
def test_an_array_is_isolated_and_keeps_what_it_is(raw, size):
    codec = codec_for(np.ndarray)
    for sent in (np.arange(size), np.arange(size)[::2], np.asfortranarray(np.ones((2, size)))):
        received, data = codec.transfer(sent)
        literal = codec.encode(sent)
        assert data == canonical_bytes(literal)
        for taken in (received, codec.transfer_sized(sent)[0], codec.transfer_wired(sent)[0], codec.decode(literal)):
            assert np.array_equal(taken, sent) and taken.dtype == sent.dtype
            assert taken.flags.f_contiguous == sent.flags.f_contiguous or not sent.flags.forc
            taken[0] = -1
            assert not np.array_equal(taken, sent)
    frozen = np.arange(size)
    frozen.flags.writeable = False
    assert not codec.transfer(frozen)[0].flags.writeable


def test_equal_arrays_have_equal_hashes_and_others_do_not(raw):
    codec = codec_for(np.ndarray)
    sent = np.arange(100_000)
    same_again, other = np.arange(100_000), np.arange(100_000)
    other[5] = -5
    assert codec.transfer(sent)[1] == codec.transfer(same_again)[1] != codec.transfer(other)[1]
    assert codec.encode(sent).scalar.blob.uri == codec.encode(same_again).scalar.blob.uri
    assert codec.transfer(sent.astype("uint64"))[1] != codec.transfer(sent)[1]


def test_large_values_are_not_held_several_times(raw):
    """Peak memory on the way of 64 MiB: none for bytes, one copy for an array, none to write either."""
    program = """
import sys, numpy as np
from flyte.types._engine import codec_for
from flyte.types._raw_data import raw_data_path
raw_data_path.set(sys.argv[1])
size = 64 << 20
for value in (bytes(1000), np.zeros(10)):  # what is imported on first use
    codec_for(type(value)).transfer_wired(value)
def peak():
    # Not ru_maxrss, which a child takes over from its parent.
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10
value = b"x" * size
before = peak()
codec_for(bytes).transfer(value), codec_for(bytes).encode(value)
codec_for(bytes | None).transfer(value), codec_for(list[bytes]).transfer([value])
print(peak() - before)
array = np.frombuffer(value, np.uint8).copy()
before = peak()
codec_for(np.ndarray).encode(array)
print(peak() - before)
received = codec_for(np.ndarray).transfer_wired(array)
print(peak() - before)
"""
    made = subprocess.run([sys.executable, "-c", program, str(raw)], capture_output=True, text=True, check=True)
    of_bytes, of_writing, of_array = map(int, made.stdout.split())
    assert of_bytes < 16 and of_writing < 16 and 48 < of_array < 80


def test_without_a_path_a_temporary_directory_is_used():
    literal = codec_for(bytes).encode(b"x" * 20_000)
    assert pathlib.Path(literal.scalar.blob.uri).exists()
    assert codec_for(bytes).decode(literal) == b"x" * 20_000


CLOSED: list[tuple[Any, Any]] = [
    (bytes, b"x"),
    (bytearray, bytearray(b"x")),
    (datetime.time, datetime.time(1, 2, tzinfo=datetime.UTC)),
    (complex, 1j),
    (decimal.Decimal, decimal.Decimal("1.50")),
    (uuid.UUID, uuid.uuid4()),
    (pathlib.Path, pathlib.Path("/a/b")),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("a")),
    (range, range(3)),
    (set[int], {1, 2}),
    (frozenset[tuple[int, str]], frozenset({(1, "a")})),
    (set[datetime.date], {datetime.date(2020, 1, 1)}),
    (tuple[int, ...], (1, 2, 3)),
]
OPEN: list[tuple[Any, Any]] = [
    (Opaque, Opaque(1)),
    (Any, {"a": (1, Opaque(2))}),
    (list, [1, "a"]),
    (set, {1, "a"}),
    (tuple, (1, "a")),
    (typing.Sequence[int], [1]),
    (FlytePickle[Opaque], Opaque(1)),
    (FlytePickle, Opaque(1)),
]


@pytest.mark.parametrize(("annotation", "value"), CLOSED + OPEN, ids=lambda v: str(v)[:30])
def test_round_trip(annotation, value):
    codec = codec_for(annotation)
    literal = codec.encode(value)
    assert codec.name == "FlytePickle"
    assert literal.scalar.binary.tag == ""
    back = codec.decode(literal)
    assert type(back) is type(value) and back == value
    received, data = codec.transfer(value)
    assert type(received) is type(value) and received == value
    assert data == canonical_bytes(literal)


@pytest.mark.parametrize(("annotation", "value"), CLOSED, ids=lambda v: str(v)[:30])
def test_the_closed_set_travels_when_pickle_is_forbidden(annotation, value, monkeypatch):
    monkeypatch.setenv("FLYTE_PICKLE", "forbid")
    assert pickled_parts(annotation) == ()
    codec = codec_for(annotation)
    assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(("annotation", "value"), OPEN, ids=lambda v: str(v)[:30])
def test_open_pickles_are_refused_when_forbidden(annotation, value, monkeypatch):
    codec = codec_for(annotation)
    literal = codec.encode(value)
    assert pickled_parts(annotation) == ("",)
    monkeypatch.setenv("FLYTE_PICKLE", "forbid")
    for convert in (codec.encode, codec.transfer):
        with pytest.raises(TypeTransformerFailedError, match="FLYTE_PICKLE=forbid"):
            convert(value)
    with pytest.raises(TypeTransformerFailedError, match="FLYTE_PICKLE=forbid"):
        codec.decode(literal)


def test_the_policy_is_checked(monkeypatch):
    monkeypatch.delenv("FLYTE_PICKLE", raising=False)
    assert pickle_policy() == "warn"
    monkeypatch.setenv("FLYTE_PICKLE", "maybe")
    with pytest.raises(ValueError, match="FLYTE_PICKLE='maybe' is not one of allow, warn, forbid"):
        pickle_policy()


def test_the_declared_type_chooses_the_decoder():
    pickled = codec_for(Opaque).encode(Opaque(1))
    inside_union = codec_for(Opaque | int).encode(Opaque(1))
    for literal in (pickled, inside_union):
        for annotation in (int, str, float, list[int], dict[str, int], int | None, int | str, bytes, set[int]):
            with pytest.raises(TypeTransformerFailedError):
                codec_for(annotation).decode(literal)
    assert codec_for(Opaque | None).decode(inside_union) == Opaque(1)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (bytes, "x"),
        (bytes, bytearray(b"x")),
        (set[int], {1, "a"}),
        (set[int], [1]),
        (set[int], frozenset({1})),
        (tuple[int, ...], (1, "a")),
        (complex, 1.0),
        (Opaque, 3),
    ],
)
def test_a_value_of_another_type_is_refused(annotation, value):
    with pytest.raises(TypeTransformerFailedError):
        codec_for(annotation).encode(value)


def test_bytes_of_another_declared_type_are_refused():
    with pytest.raises(TypeTransformerFailedError, match="expected bytes"):
        codec_for(bytes).decode(codec_for(complex).encode(1j))
    with pytest.raises(TypeTransformerFailedError, match="expected int, got str"):
        codec_for(set[int]).decode(codec_for(set[str]).encode({"a"}))


def test_a_subclass_hidden_in_a_closed_value_is_found_when_it_is_written():
    class Hidden(int):
        pass

    with pytest.raises(TypeTransformerFailedError):
        codec_for(set[int]).encode({Hidden(1)})


def test_the_hash_of_a_set_does_not_depend_on_its_order():
    # Written by the published package 2.12.1 for the same values.
    assert codec_for(set[str]).encode({"a", "b"}).hash == "ac70034498906f8f3d1ff503ced57862"
    assert codec_for(set[int]).encode({2, 1}).hash == "d1daa8e1ff864a7b7ef5ae29f77ccdcb"


def test_bytes_pass_by_identity():
    value = b"x" * 100
    assert codec_for(bytes).transfer(value)[0] is value
    changing = bytearray(b"x")
    assert codec_for(bytearray).transfer(changing)[0] is not changing


@pytest.mark.parametrize(
    ("annotation", "parts"),
    [
        (int, ()),
        (dict[str, list[int]], ()),
        (Opaque, ("",)),
        (list[Opaque], ("[]: Opaque",)),
        (dict[str, Any], ("[value]: Any",)),
        (Opaque | int, ("Opaque",)),
        (dict[str, list[Any] | None], ("[value][]: Any",)),
        (typing.Literal[1, 2], ()),
    ],
)
def test_the_parts_that_are_pickled_are_named(annotation, parts):
    assert pickled_parts(annotation) == parts


def test_flyte_pickle_by_hand(raw):
    uri = asyncio.run(FlytePickle.to_pickle(Opaque(1)))
    assert asyncio.run(FlytePickle.from_pickle(uri)) == Opaque(1)
    with pytest.raises(TypeTransformerFailedError, match="readable file"):
        asyncio.run(FlytePickle.from_pickle(str(raw / "gone")))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(bytes, b"x" * 20_000), (bytes, b"x"), (set[int], {1, 2}), (np.ndarray, np.arange(20_000))],
    ids=["large", "small", "set", "array"],
)
def test_what_was_taken_is_wired_without_a_second_hash(raw, annotation, value, monkeypatch):
    codec = codec_for(annotation)
    taken, canonical = codec.transfer(value)
    expected = codec.wire(value)
    if len(value) > 100:
        monkeypatch.setattr("flyte.types._pickle.Dump.digest", lambda self: pytest.fail("hashed again"))
    assert codec.wire_taken(taken, canonical) == expected
