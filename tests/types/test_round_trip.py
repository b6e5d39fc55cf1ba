"""Every supported annotation, nested four deep: a value comes back equal and of the same type."""

import os
import pathlib
import sys

from hypothesis import HealthCheck, given, settings

from flyte.types._engine import codec_for
from flyte.types._equality import same
from flyte.types._hashing import canonical_bytes

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from strategies import typed_values

bounded = settings(
    max_examples=int(os.environ.get("FLYTE_TEST_EXAMPLES", "400")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@bounded
@given(typed_values())
def test_a_value_comes_back_equal_and_of_the_same_type(case):
    annotation, value = case
    codec = codec_for(annotation)
    back = codec.decode(codec.encode(value))
    assert same(back, value), (annotation, value, back)


@bounded
@given(typed_values())
def test_transfer_means_encode_and_decode(case):
    annotation, value = case
    codec = codec_for(annotation)
    literal = codec.encode(value)
    received, data = codec.transfer(value)
    assert same(received, codec.decode(literal))
    assert data == canonical_bytes(literal)
