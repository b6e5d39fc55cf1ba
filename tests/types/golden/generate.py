"""Write the golden file of one implementation, through its public API only.

Usage: ``python generate.py OUTPUT.json`` with the interpreter in which the implementation is installed.

Each case is kept as its LiteralType (text proto) and, for each value, the Literal (text proto and hex) or the class of
the error.
"""

import asyncio
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import cases
from google.protobuf import text_format


def text(message: Any) -> str:
    return text_format.MessageToString(message, as_one_line=True)


async def one(annotation: Any, values: list[Any]) -> dict[str, Any]:
    from flyte.types import TypeEngine

    try:
        expected = TypeEngine.to_literal_type(annotation)
    except Exception as error:
        return {"error": type(error).__name__}
    result: dict[str, Any] = {"type": text(expected), "values": []}
    for value in values:
        entry: dict[str, Any] = {"value": repr(value)}
        try:
            literal = await TypeEngine.to_literal(value, annotation, expected)
            entry["literal"] = text(literal)
            entry["hex"] = literal.SerializeToString(deterministic=True).hex()
            back = await TypeEngine.to_python_value(literal, annotation)
            entry["back"] = repr(back)
        except Exception as error:
            entry["error"] = type(error).__name__
        result["values"].append(entry)
    return result


async def main() -> None:
    golden = {name: await one(annotation, values) for name, annotation, values in cases.CASES}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
