"""Text of the command line to typed values, and back where defaults are shown."""

import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import typing
import uuid
from dataclasses import dataclass, field

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte.cli._render import json_text
from flyte.cli._values import BadValue, reader_of, text_of


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: float = 1.0
    tags: list[str] = field(default_factory=list)


class Model(pydantic.BaseModel):
    points: list[Point]
    day: dt.date | None = None


class Pair(typing.NamedTuple):
    a: int
    b: str


class Options(typing.TypedDict):
    depth: int
    names: typing.NotRequired[list[str]]


UserId = typing.NewType("UserId", int)
UTC = dt.UTC

READ = [
    (int, "-12", -12),
    (int, "1_000", 1000),
    (float, "2", 2.0),
    (float, "inf", math.inf),
    (str, "null", "null"),
    (str, "@file", "@file"),
    (bool, "true", True),
    (bytes, "abc", b"abc"),
    (Color, "RED", Color.RED),
    (Color, "g", Color.GREEN),
    (Level, "HIGH", Level.HIGH),
    (Level, "1", Level.LOW),
    (typing.Literal["a", 3, True, None], "a", "a"),
    (typing.Literal["a", 3, True, None], "3", 3),
    (typing.Literal["a", 3, True, None], "true", True),
    (typing.Literal["a", 3, True, None], "null", None),
    (int | None, "null", None),
    (int | None, "5", 5),
    (str | None, "null", None),
    (typing.Optional[Color], "RED", Color.RED),
    (typing.Annotated[int, "unit"], "5", 5),
    (UserId, "5", 5),
    (int | str, "5", 5),
    (int | str, "5.5", "5.5"),
    (int | str, "x", "x"),
    (float | int, "5", 5),
    (float | str, "5", 5.0),
    (bool | int, "true", True),
    (dt.date, "2024-05-06", dt.date(2024, 5, 6)),
    (dt.datetime, "2024-05-06", dt.datetime(2024, 5, 6)),
    (dt.datetime, "2024-05-06T07:08:09Z", dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
    (dt.time, "07:08", dt.time(7, 8)),
    (dt.timedelta, "90s", dt.timedelta(seconds=90)),
    (dt.timedelta, "1h30m", dt.timedelta(minutes=90)),
    (dt.timedelta, "1d 2h", dt.timedelta(hours=26)),
    (dt.timedelta, "1.5h", dt.timedelta(minutes=90)),
    (dt.timedelta, "250ms", dt.timedelta(milliseconds=250)),
    (dt.timedelta, "-90s", dt.timedelta(seconds=-90)),
    (dt.timedelta, "PT1H30M", dt.timedelta(minutes=90)),
    (dt.timedelta, "P1W2DT0.5S", dt.timedelta(days=9, seconds=0.5)),
    (dt.timedelta, "90", dt.timedelta(seconds=90)),
    (dt.timedelta, "1 day", dt.timedelta(days=1)),
    (dt.timedelta, "2 hours", dt.timedelta(hours=2)),
    (dt.timedelta, "2hrs", dt.timedelta(hours=2)),
    (dt.timedelta, "90 minutes 3s", dt.timedelta(seconds=5403)),
    (dt.timedelta, "1.5 weeks", dt.timedelta(days=10.5)),
    (dt.timedelta, "1 sec 1 millisecond 1 microsecond", dt.timedelta(seconds=1, microseconds=1001)),
    (dt.timedelta, "-1 day", dt.timedelta(days=-1)),
    (dt.timedelta, "0.5", dt.timedelta(milliseconds=500)),
    (pathlib.Path, "/a/b", pathlib.Path("/a/b")),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (list[int], "[1, 2]", [1, 2]),
    (dict[str, list[float]], '{"a": [1, 2.5]}', {"a": [1.0, 2.5]}),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (set[int], "[1, 2, 2]", {1, 2}),
    (list[dt.date], '["2024-05-06"]', [dt.date(2024, 5, 6)]),
    (list[Color], '["r"]', [Color.RED]),
    (Point, '{"x": 3}', Point(3)),
    (Point | None, "null", None),
    (list[Point], '[{"x": 3, "tags": ["t"]}]', [Point(3, 1.0, ["t"])]),
    (Model, '{"points": [{"x": 1}], "day": "2024-05-06"}', Model(points=[Point(1)], day=dt.date(2024, 5, 6))),
    (Pair, '[1, "b"]', Pair(1, "b")),
    (Options, '{"depth": 2}', {"depth": 2}),
    (list[Options], '[{"depth": 2, "names": ["n"]}]', [{"depth": 2, "names": ["n"]}]),
    (int | list[int], "[1]", [1]),
    (Point | str, "hello", "hello"),
    (Point | str, '{"x": 3}', Point(3)),
    (typing.Any, '{"a": 1}', {"a": 1}),
    (typing.Any, "plain", "plain"),
]


@pytest.mark.parametrize(("annotation", "text", "value"), READ)
def test_text_becomes_a_value_of_the_type(annotation, text, value):
    read = reader_of(annotation).read(text)
    assert read == value
    assert type(read) is type(value)


DURATION = "duration (such as 90s, 1h30m, 2 hours, PT90S or a number of seconds)"
REFUSED = [
    *[
        (dt.timedelta, text, f"{text!r} is not a valid {DURATION}")
        for text in ("3x", "1h3", "P", "nan", "1e300", "1 month", "day", "5 ss", "", "1 day,")
    ],
    (int, "ten", "'ten' is not a valid int"),
    (int, "1.0", "'1.0' is not a valid int"),
    (float, "x", "'x' is not a valid float"),
    (int | None, "none", "'none' is not a valid int"),
    (int | float, "x", "'x' is not a valid int or float"),
    (Color, "blue", "'blue' is not one of RED, GREEN"),
    (typing.Literal["fast", "slow"], "fats", "'fats' is not one of fast, slow; did you mean 'fast'?"),
    (dt.date, "6.5.2024", "'6.5.2024' is not a valid date (ISO 8601 or today)"),
    (dt.datetime, "soon", "'soon' is not a valid datetime (ISO 8601, now or today)"),
    (uuid.UUID, "x", "'x' is not a valid UUID"),
    (decimal.Decimal, "x", "'x' is not a valid Decimal"),
    (list[int], '["1"]', "'[\"1\"]' is not a valid list[int]: at [0]: Input should be a valid integer"),
    (list[int], "[1", "'[1' is not a valid list[int] as JSON: Expecting ',' delimiter: line 1 column 3 (char 2)"),
    (list[int], "3", "'3' is not a valid list[int]: Input should be a valid array"),
    (Point, "{}", "'{}' is not a valid Point: at ['x']: Field required"),
    (
        dict[str, int],
        '{"a": "x", "b": "y"}',
        (
            """'{"a": "x", "b": "y"}' is not a valid dict[str, int]: """
            "at ['a']: Input should be a valid integer (and 1 more)"
        ),
    ),
    (Point, "no/such.json", "'no/such.json' is not a valid Point as JSON: there is no file of that name"),
    (Point, "/", "'/' is not a valid Point as JSON: Expecting value: line 1 column 1 (char 0)"),
    (Point, "@/no/such.json", "cannot read '/no/such.json': No such file or directory"),
    (bytes, "@/no/such", "cannot read '/no/such': No such file or directory"),
]


@pytest.mark.parametrize(("annotation", "text", "message"), REFUSED)
def test_what_is_no_value_is_refused(annotation, text, message):
    with pytest.raises(BadValue) as caught:
        reader_of(annotation).read(text)
    assert str(caught.value) == message


def test_a_long_bad_value_is_cut():
    with pytest.raises(BadValue) as caught:
        reader_of(list[int]).read("[" + "9, " * 5000)
    assert len(str(caught.value)) < 250


def test_files(tmp_path):
    (tmp_path / "point.json").write_text('{"x": 7}')
    (tmp_path / "raw").write_bytes(b"\xff\x00")
    assert reader_of(Point).read(f"@{tmp_path / 'point.json'}") == Point(7)
    assert reader_of(bytes).read(f"@{tmp_path / 'raw'}") == b"\xff\x00"
    assert reader_of(typing.Any).read(f"@{tmp_path / 'point.json'}") == {"x": 7}
    with pytest.raises(BadValue, match="is not a file of UTF-8 text"):
        reader_of(Point).read(f"@{tmp_path / 'raw'}")


def test_a_file_may_be_named_without_a_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "point.json").write_text('{"x": 7}')
    (tmp_path / "numbers").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "3").write_text("[4]")
    assert reader_of(Point).read("point.json") == Point(7)
    assert reader_of(Point | None).read("point.json") == Point(7)
    assert reader_of(dict[str, int]).read("./point.json") == {"x": 7}
    assert reader_of(list[int]).read("numbers") == [1, 2]
    with pytest.raises(BadValue, match=r"'broken.json' is not a valid Point as JSON: Expecting property name"):
        reader_of(Point).read("broken.json")
    # What is JSON is no file's name, and what may be plain text is text.
    with pytest.raises(BadValue, match=r"'3' is not a valid list\[int\]"):
        reader_of(list[int]).read("3")
    assert reader_of(Point | str).read("point.json") == "point.json"
    assert reader_of(str).read("point.json") == "point.json"


def test_moments():
    before = dt.datetime.now(UTC)
    now = reader_of(dt.datetime).read("now")
    assert before <= now <= dt.datetime.now(UTC)
    today = reader_of(dt.datetime).read("today")
    assert (today.hour, today.minute, today.second, today.microsecond) == (0, 0, 0, 0)
    assert today <= now
    assert today.tzinfo is not None
    assert reader_of(dt.date).read("today") in (dt.date.today(), dt.date.today() - dt.timedelta(days=1))


def test_a_class_that_json_cannot_say_is_refused_when_given():
    class Engine:
        pass

    with pytest.raises(
        BadValue, match=r"a value of type .*Engine cannot be given on the command line: JSON has no form"
    ):
        reader_of(Engine).read("{}")


def test_choices_and_flags_are_known_without_reading():
    assert reader_of(Color).choices == ("RED", "GREEN")
    assert reader_of(Color | None).choices == ("RED", "GREEN", "null")
    assert reader_of(bool).is_flag
    assert reader_of(bool | None).is_flag
    assert reader_of(bool | None).optional
    assert not reader_of(bool | int).is_flag
    assert reader_of(list[int]).metavar == "<list[int]>"


# A default is shown as a user would write it, so reading what is shown gives it back.
BACK = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (str, st.text(min_size=1, max_size=40)),
    (bool | int, st.booleans() | st.integers()),
    (Color, st.sampled_from(Color)),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes()),
    (dt.time, st.times()),
    (
        dt.timedelta,
        st.timedeltas(dt.timedelta(0), dt.timedelta(hours=10)).map(lambda d: dt.timedelta(seconds=d.seconds)),
    ),
    (list[int], st.lists(st.integers(0, 1000), max_size=8)),
    (tuple[int, str], st.tuples(st.integers(), st.text(max_size=10))),
    (Point, st.builds(Point, st.integers(), st.floats(0, 1), st.lists(st.text(max_size=4), max_size=1))),
]


@pytest.mark.parametrize(("annotation", "strategy"), BACK)
def test_a_shown_default_reads_back(annotation, strategy):
    reader = reader_of(annotation)

    @given(strategy)
    def check(value):
        shown = text_of(value)
        if not shown.endswith("..."):
            assert reader.read(shown) == value

    check()


@pytest.mark.parametrize(
    ("annotation", "strategy"),
    [*BACK[:3], *BACK[9:], (dict[str, list[dt.date]], st.dictionaries(st.text(), st.lists(st.dates())))],
)
def test_json_output_reads_back(annotation, strategy):
    reader = reader_of(annotation)

    @given(strategy)
    def check(value):
        text = json_text(value)
        json.loads(text, parse_constant=pytest.fail)
        if annotation is str:
            assert json.loads(text) == value
        elif value not in (math.inf, -math.inf):
            assert reader.read(text) == value

    check()


def test_a_file_or_folder_is_given_by_its_path(tmp_path, monkeypatch):
    from flyte.io import Dir, File

    (tmp_path / "data.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert reader_of(File).read("data.txt") == File(path=str(tmp_path / "data.txt"), name="data.txt")
    assert reader_of(File[str]).read("s3://bucket/key").path == "s3://bucket/key"
    assert reader_of(File).read('{"path": "elsewhere"}').path == "elsewhere"
    assert reader_of(Dir).read(".").path == str(tmp_path)
    for wrong, kind in (("nope.txt", File), (".", File), ("data.txt", Dir)):
        with pytest.raises(BadValue, match="there is no"):
            reader_of(kind).read(wrong)


def test_a_frame_is_named_by_its_file(tmp_path):
    import pandas as pd

    from flyte.io import DataFrame

    pd.DataFrame({"a": [1, 2, 3]}).to_parquet(tmp_path / "x.parquet")
    frame = reader_of(DataFrame).read(str(tmp_path / "x.parquet"))
    assert len(frame.open(pd.DataFrame).all_sync()) == 3
    with pytest.raises(BadValue, match="there is no parquet file or folder"):
        reader_of(DataFrame).read(str(tmp_path / "gone.parquet"))
