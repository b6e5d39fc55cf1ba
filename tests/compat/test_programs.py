"""Programs written for the published package run unchanged: each, as a process of its own, prints what it prints there.

The golden transcripts were made by record.py with the published package; a difference that is meant is kept, with its
reason, in differences/.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("compat_record", Path(__file__).with_name("record.py"))
assert _spec is not None and _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
sys.modules["compat_record"] = record
_spec.loader.exec_module(record)

NAMES = record.program_names()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(300)
def test_program(name: str) -> None:
    lines = record.transcript(name, sys.executable, record.HERE.parent.parent)
    assert lines == record.expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_differences_have_reasons(name: str) -> None:
    golden = record.golden(name)
    for difference in record.differences(name):
        assert len(difference.reason) > 10
        assert list(difference.lines) != golden[difference.start : difference.stop]


def test_every_transcript_has_its_program() -> None:
    kept = {path.stem for folder in (record.GOLDEN, record.DIFFERENCES) for path in folder.glob("*.txt")}
    assert kept <= set(NAMES)
