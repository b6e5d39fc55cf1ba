"""How values travel: the type engine, and the seam for types of your own.

A face: names are resolved on first use, so importing this package loads neither protobuf nor pydantic.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

_NAMES = {
    "FlytePickle": "flyte.types._pickle",
    "Renderable": "flyte.types._renderable",
    "TypeEngine": "flyte.types._type_engine",
    "TypeTransformer": "flyte.types._transformer",
    "TypeTransformerFailedError": "flyte.errors",
    "guess_interface": "flyte.types._guessing",
    "literal_string_repr": "flyte.types._strings",
}

if TYPE_CHECKING:
    from flyte.errors import TypeTransformerFailedError as TypeTransformerFailedError
    from flyte.types._guessing import guess_interface as guess_interface
    from flyte.types._pickle import FlytePickle as FlytePickle
    from flyte.types._renderable import Renderable as Renderable
    from flyte.types._strings import literal_string_repr as literal_string_repr
    from flyte.types._transformer import TypeTransformer as TypeTransformer
    from flyte.types._type_engine import TypeEngine as TypeEngine

__all__ = [
    "FlytePickle",
    "Renderable",
    "TypeEngine",
    "TypeTransformer",
    "TypeTransformerFailedError",
    "guess_interface",
    "literal_string_repr",
]

__getattr__, __dir__ = lazy_face(__name__, _NAMES)
