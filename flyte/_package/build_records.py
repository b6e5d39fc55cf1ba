"""What was built on this machine: so that an unchanged image is decided on without a network, and why others are built.

One small JSON file for each repository below ``$FLYTE_HOME/images``. It is a memory, not a truth: what it says of a
registry is believed for :data:`TRUST_S`; what it says of podman's store is looked up in the store's own list; and where
it cannot be written, images are only looked for again.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flyte._core.home import home_dir
from flyte._core.log import logger

from .image_reference import LOCAL, split_uri

TRUST_S = 7 * 24 * 3600.0
"""Somebody may delete an image from a registry; after a week it is asked again."""
_KEPT = 50  # builds of one repository


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One image that was built, or found.

    :param uri: with its tag.
    :param builder: name of the builder.
    :param seen_s: when it was last known to be there, in seconds since 1970.
    :param recipe: of it, as the image describes itself.
    :param in_registry: whether that is where it is; else it is in the store.
    :param store: the list of images of podman's store on this machine, if there is one.
    :param image_id: the image's id there.
    :param base_id: the id there of its base; None if that is not in the store.
    """

    uri: str
    builder: str
    seen_s: float
    recipe: Mapping[str, Any]
    in_registry: bool
    store: str | None = None
    image_id: str | None = None
    base_id: str | None = None

    def is_certain(self, ids: Mapping[str, str] | None) -> bool:
        """Whether the image need not be looked for: it was seen lately, or is in the store's list.

        :param ids: what is in the store now, by :func:`stored_ids`.
        """
        if self.in_registry:
            return 0 <= time.time() - self.seen_s < TRUST_S
        return self.image_id is not None and (ids or {}).get(f"{LOCAL}/{self.uri}") == self.image_id

    def changed_base(self, ids: Mapping[str, str] | None) -> str | None:
        """In which way the base in the store is another one now; None if it is the same, or is not in the store."""
        base = self.recipe.get("base")
        now = (ids or {}).get(split_uri(base).full) if base else None
        if self.base_id is None or now is None or now == self.base_id:
            return None
        return f"base changed: {base} is another image than at the last build ({now[:12]}, was {self.base_id[:12]})"


class BuildRecords:
    """The records below one folder.

    :param folder: default ``$FLYTE_HOME/images``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or home_dir() / "images"

    def find(self, uri: str, builder: str) -> BuildRecord | None:
        """What is known of one image of one builder."""
        return next((one for one in self._read(uri) if one.uri == uri and one.builder == builder), None)

    def last(self, uri: str) -> BuildRecord | None:
        """The last build of any image of the same repository."""
        found = self._read(uri)
        return found[-1] if found else None

    def keep(self, record: BuildRecord) -> None:
        """Remember an image; where that is not possible, nothing is lost but time."""
        others = [one for one in self._read(record.uri) if (one.uri, one.builder) != (record.uri, record.builder)]
        text = json.dumps([asdict(one) for one in [*others, record][-_KEPT:]])
        path = self._path(record.uri)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, written = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(written, path)
            except BaseException:
                os.unlink(written)
                raise
        except OSError as error:
            logger.debug("builds are not remembered in %s: %s", path.parent, error)

    def _path(self, uri: str) -> Path:
        repository = uri.rpartition(":")[0]
        return self._folder / f"{hashlib.sha256(repository.encode()).hexdigest()[:32]}.json"

    def _read(self, uri: str) -> list[BuildRecord]:
        known = {one.name for one in fields(BuildRecord)}
        try:
            content = json.loads(self._path(uri).read_text(encoding="utf-8"))
            return [BuildRecord(**{key: value for key, value in one.items() if key in known}) for one in content]
        except (OSError, ValueError, TypeError, AttributeError):
            return []  # not there, or written by another version


def stored_ids(path: str | Path | None) -> dict[str, str] | None:
    """Name to id of all images in a store of podman's, by its own list; None if it cannot be read.

    :param path: the list, ``<graph root>/<driver>-images/images.json`` (containers/storage, format of 2022 to 2026).
    """
    if path is None:
        return None
    try:
        images = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: image["id"] for image in images for name in image.get("names") or ()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def explain_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of a recipe has changed, in a few words; empty if nothing has."""
    found = []
    if before.get("base") != now.get("base"):
        found.append(f"base changed: {now.get('base')}, was {before.get('base')}")
    names = {"dockerfile": "the Dockerfile", "platform": "the platforms", "python": "the Python version"}
    found += [f"{name} changed" for key, name in names.items() if before.get(key) != now.get(key)]
    old, new = list(before.get("layers") or ()), list(now.get("layers") or ())
    for position in range(max(len(old), len(new))):
        if position >= len(old):
            found.append(f"layer {position + 1} ({_called(new[position])}) is new")
        elif position >= len(new):
            found.append(f"layer {position + 1} ({_called(old[position])}) is gone")
        elif old[position] != new[position]:
            found.append(_explain_layer(position, old[position], new[position]))
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _explain_layer(position: int, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    where = f"layer {position + 1} ({_called(now)})"
    if before.get("layer") != now.get("layer"):
        return f"{where} was {_called(before)}"
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list):
            gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
            if key in ("variables", "secrets"):  # of a variable only its name is shown
                names = ", ".join(dict.fromkeys(str(one[0]) for one in gone + come))
                return f"{where}: {names + ' changed' if names else 'another order'}"
            signs = [*(f"-{one}" for one in gone), *(f"+{one}" for one in come)]
            return f"{where}: {' '.join(signs) or 'another order'}"
        return f"{where}: {key} changed"
    return f"{where} changed"


def _called(layer: Mapping[str, Any]) -> str:
    place = layer.get("dst") or layer.get("path")
    return f"{layer.get('layer')} to {place}" if place else str(layer.get("layer"))
