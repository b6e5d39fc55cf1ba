"""What holds for every test: nothing is read from or written to the user's own state folder."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flyte-home") / "home"
    monkeypatch.setenv("FLYTE_HOME", str(folder))
    # What an earlier test gave to flyte.init is not this one's.
    if "flyte._package.image_engine" in sys.modules:
        sys.modules["flyte._package.image_engine"].configured_builder.set_default(None)
    return folder
