"""What an annotation says of a frame beside its class: columns, format, and how its hash is found."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyteidl2.core.literals_pb2 import Literal, Scalar, StructuredDataset, StructuredDatasetMetadata
from flyteidl2.core.types_pb2 import LiteralType, StructuredDatasetType

from flyte.types._frames.content import PARQUET, Columns, Content


@dataclass(frozen=True)
class Declared:
    """What ``Annotated`` said of a frame.

    :param columns: name -> type, or None where only the name is given; empty for all columns.
    :param format: the format asked for; empty for parquet.
    :param schema: an arrow schema in words; empty for none.
    :param hash_method: shown a frame, says its hash.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    format: str = ""
    schema: str = ""
    hash_method: Any = None

    @property
    def names(self) -> Columns:
        """The columns to keep; None for all."""
        return tuple(self.columns) if self.columns else None

    def dataset_type(self, format: str) -> StructuredDatasetType:
        """The wire's words for it."""
        from flyte.types._engine import codec_for

        columns = [
            StructuredDatasetType.DatasetColumn(
                name=name, literal_type=codec_for(kind).literal_type if kind is not None else None
            )
            for name, kind in self.columns.items()
        ]
        made = StructuredDatasetType(columns=columns, format=format)
        if self.schema:
            made.external_schema_type = "arrow"
            made.external_schema_bytes = self.schema.encode()
        return made

    def hash_of(self, content: Content) -> str:
        """What stands for a content in the keys of the cache."""
        return hash_with(self.hash_method, content) if self.hash_method is not None else content.digest


def hash_with(method: Any, content: Content) -> str:
    """The hash that a hash method finds of a content; a text is one already."""
    if isinstance(method, str):
        return method
    method.reset()
    # A function is shown the frame; what hashes bytes is shown those that stand for it.
    method.update(content.receive() if hasattr(method, "fn") else content.digest.encode())
    found: str = method.result()
    return found


def parse(metadata: Sequence[Any]) -> Declared:
    """What the parts of an ``Annotated`` say of a frame; parts that mean nothing here are left to others.

    :raises TypeError: columns that are not named by text.
    """
    columns: dict[str, Any] = {}
    format, schema, method = "", "", None
    for item in metadata:
        if isinstance(item, Mapping):
            columns.update(item)
        elif isinstance(item, (list, tuple)) and item and all(isinstance(name, str) for name in item):
            columns.update(dict.fromkeys(item))
        elif isinstance(item, str):
            format = item
        elif callable(getattr(item, "update", None)) and callable(getattr(item, "result", None)):
            method = item
        elif type(item).__name__ == "Schema" and type(item).__module__.partition(".")[0] == "pyarrow":
            schema = str(item)
    for name in columns:
        if not isinstance(name, str):
            raise TypeError(f"columns of a frame are named by text, but Annotated names {name!r}")
    return Declared(columns, format, schema, method)


def without_metadata(annotation: Any) -> Any:
    """The class that is annotated."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def dataset_message(uri: str, declared: Declared, format: str) -> StructuredDataset:
    """Where a frame is stored, and what is known of it."""
    metadata = StructuredDatasetMetadata(structured_dataset_type=declared.dataset_type(format or PARQUET))
    return StructuredDataset(uri=uri, metadata=metadata)


def dataset_literal(uri: str, declared: Declared, format: str, content_hash: str | None) -> Literal:
    """The literal of a stored frame."""
    dataset = dataset_message(uri, declared, format)
    return Literal(scalar=Scalar(structured_dataset=dataset), hash=content_hash or "")


def dataset_literal_type(declared: Declared, tag: str) -> LiteralType:
    """The LiteralType of frames."""
    made = LiteralType(structured_dataset_type=declared.dataset_type(declared.format))
    if tag:
        made.structure.tag = tag
    return made
