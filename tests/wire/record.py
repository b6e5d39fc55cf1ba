"""Write the wire form of every definition as text: ours to `golden/`, the published package's to `peer/`.

    python tests/wire/record.py

The interpreter, which needs the kubernetes package as well, says which package it is. What changes with the Python
release or the package's own is replaced by a word in angle brackets: the version of the SDK, and versions that are a
hash of a function's syntax tree.
"""

import importlib.util
import re
import sys
from pathlib import Path

from google.protobuf import text_format

HERE = Path(__file__).resolve().parent


def definitions():
    """The module of definitions, under a name that does not depend on who imports it."""
    if "definitions" not in sys.modules:
        spec = importlib.util.spec_from_file_location("definitions", HERE / "definitions.py")
        module = sys.modules["definitions"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["definitions"]


def as_text(message):
    """A message as text, without what depends on releases."""
    text = text_format.MessageToString(message)
    text = re.sub(r'(type: FLYTE_SDK\s+version: )"[^"]+"', r'\1"<version of the SDK>"', text)
    return re.sub(r'(discovery_version: )"[0-9a-f]{64}"', r'\1"<hash of the body>"', text)


def main():
    import flyte

    root = Path(flyte.__file__).resolve().parents[1]
    ours = root == HERE.parents[1]
    folder = HERE / ("golden" if ours else "peer")
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.txtpb"):
        path.unlink()
    for name, (task, context) in definitions().DEFINITIONS.items():
        if ours:
            from flyte._wire.task import task_spec

            spec = task_spec(task, context, deploy=True)
        else:
            import flyte.extras

            try:
                spec = flyte.extras.serialize(task, context)
            except Exception as error:
                print(f"{name}: {type(error).__name__}")
                continue
        (folder / f"{name}.txtpb").write_text(as_text(spec))
    if ours:
        import asyncio

        from flyte._wire.trigger import task_trigger

        for name, (task, trigger) in definitions().TRIGGERS.items():
            (folder / f"trigger_{name}.txtpb").write_text(as_text(asyncio.run(task_trigger(task, trigger))))


if __name__ == "__main__":
    main()
