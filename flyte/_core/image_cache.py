"""Images that are known when a task is translated, as one word of its container's command line."""

import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageCache:
    """Images that are known when a task is translated, so that the container need not build them again.

    :param image_lookup: URI of the image of each environment.
    :param build_run_ids: the run that built it, where one did: ``org``, ``project``, ``domain`` and ``name``.
    """

    image_lookup: Mapping[str, str] = field(default_factory=dict)
    build_run_ids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_transport(self) -> str:
        """One word that holds all of it: base64 of gzip of JSON, the same for the same images."""
        content = {
            "image_lookup": dict(self.image_lookup),
            "build_run_ids": {name: dict(run) for name, run in self.build_run_ids.items()},
        }
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # a gzip header without time or name
        packed = packer.compress(json.dumps(content, sort_keys=True).encode()) + packer.flush()
        return binascii.b2a_base64(packed, newline=False).decode()

    @classmethod
    def from_transport(cls, word: str) -> "ImageCache":
        """What :meth:`to_transport` wrote.

        :raises ValueError: it is something else.
        """
        try:
            packed = binascii.a2b_base64(word, strict_mode=True)
            content = json.loads(zlib.decompress(packed, 16 + zlib.MAX_WBITS))
            return cls(dict(content["image_lookup"]), dict(content.get("build_run_ids") or {}))
        except (ValueError, zlib.error, KeyError, TypeError) as error:
            raise ValueError(
                f"--image-cache holds {word[:40]!r}, which is no image cache ({error}); it is written by flyte itself"
            ) from error


def image_cache_from(given: Any) -> ImageCache | None:
    """The image cache that a context of serialisation holds: a cache, a dict of URIs, or something with the fields.

    :raises TypeError: something else.
    """
    if given is None or isinstance(given, ImageCache):
        return given
    if isinstance(given, Mapping):
        return ImageCache(given)
    lookup = getattr(given, "image_lookup", None)
    if isinstance(lookup, Mapping):
        return ImageCache(lookup, getattr(given, "build_run_ids", None) or {})
    raise TypeError(
        f"SerializationContext: image_cache takes a dict from environment to image URI, got {type(given).__name__}"
    )
