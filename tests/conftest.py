"""What holds for every test: nothing is read from or written to the user's own state folder."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flyte-home") / "home"
    monkeypatch.setenv("FLYTE_HOME", str(folder))
    return folder
