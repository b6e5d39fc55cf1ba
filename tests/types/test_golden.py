"""Every encoding, byte for byte, against what the published package 2.12.1 writes (golden/peer-2.12.1.json)."""

import json
import pathlib
import sys
import warnings

import pytest
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType
from google.protobuf import text_format

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._equality import same

HERE = pathlib.Path(__file__).parent / "golden"
sys.path.insert(0, str(HERE))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cases

GOLDEN = json.loads((HERE / "peer-2.12.1.json").read_text())

# Where we differ on purpose, and why.
OTHER_TYPE = {
    "literal_str": "an enum of the strings, as the peer itself declares it in a task's interface",
    "literal_int": "the peer declares it as Any in a task's interface",
    "literal_mixed": "the peer declares it as Any in a task's interface",
    "defaultdict": "the peer gives a plain dict back; ours keeps the class",
    "duration": "the peer refuses every value of it",
}
OTHER_VALUE = {
    ("date", 2): "a datetime for a date is refused, because its time of day would be lost",
    ("literal_str", 0): "see its type",
    ("literal_str", 1): "see its type",
    ("literal_str", 2): "a value that is not one of the choices is refused",
    ("mixed", 0): "the peer cannot write a pydantic model inside a dataclass",
    ("partial", 0): "the peer cannot write a TypedDict without all its keys",
    ("partial", 1): "the peer cannot write a TypedDict without all its keys",
    ("duration", 0): "see its type",
}
NAMES = [name for name, _, _ in cases.CASES]
VALUES = [(name, i) for name, _, values in cases.CASES for i in range(len(values))]
BY_NAME = {name: (annotation, values) for name, annotation, values in cases.CASES}


def test_the_golden_file_has_every_case():
    assert set(GOLDEN) == set(NAMES)
    assert len(NAMES) > 100
    assert len(VALUES) > 150


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHER_TYPE])
def test_literal_type(name):
    ours = codec_for(BY_NAME[name][0]).literal_type
    theirs = text_format.Parse(GOLDEN[name]["type"], LiteralType())
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("name", "i"), [value for value in VALUES if value not in OTHER_VALUE])
def test_literal(name, i):
    annotation, values = BY_NAME[name]
    golden = GOLDEN[name]["values"][i]
    codec = codec_for(annotation)
    if "error" in golden:
        with pytest.raises(TypeTransformerFailedError):
            codec.encode(values[i])
        return
    literal = codec.encode(values[i])
    assert literal.SerializeToString(deterministic=True).hex() == golden["hex"]
    read = codec.decode(text_format.Parse(golden["literal"], Literal()))
    assert same(read, codec.transfer(values[i])[0])


@pytest.mark.parametrize("name", OTHER_TYPE)
def test_a_difference_of_type_is_still_one(name):
    try:
        ours = codec_for(BY_NAME[name][0]).literal_type
    except TypeError:
        return
    assert ours != text_format.Parse(GOLDEN[name]["type"], LiteralType())
