"""What a control plane needs to bring values into a container without flyte and out of it again, and the same as files.

Called by container tasks. The side container that moves the values is called CoPilot in the protocol.
"""

from collections.abc import Mapping
from typing import Any, Literal

from flyteidl2.core.literals_pb2 import LiteralMap
from flyteidl2.core.tasks_pb2 import DataLoadingConfig

from flyte._core.interface import NativeInterface
from flyte.types._engine import codec_for

MetadataFormat = Literal["JSON", "YAML", "PROTO"]
FileLayout = Literal["DIRECT", "NAMED_DIR"]


def data_loading_config(
    input_path: str, output_path: str, metadata_format: MetadataFormat, layout: FileLayout
) -> DataLoadingConfig:
    """Where inputs are put and outputs are taken from.

    :param metadata_format: form of the file that holds all inputs together.
    :param layout: whether a file keeps its own name, in a folder named after the input.
    """
    return DataLoadingConfig(
        enabled=True,
        input_path=input_path,
        output_path=output_path,
        format=metadata_format,
        file_input_layout=layout,
    )


async def literal_map(interface: NativeInterface, values: Mapping[str, Any]) -> bytes:
    """The values of an interface's inputs as the bytes of a LiteralMap."""
    found = LiteralMap()
    for name, (annotation, _) in interface.inputs.items():
        found.literals[name].CopyFrom(await codec_for(annotation).encode_async(values[name]))
    return found.SerializeToString(deterministic=True)
