"""A store of your own: four methods that serve the URIs of a scheme; here a dict, which lasts as long as its process.

$ python examples/own_store.py
$ flyte run --raw-data-path shelf://run examples/own_store.py main
"""

import flyte.io
from flyte.storage import ObjectInfo, register_store


class Shelf(dict[tuple[str, str], bytes]):  # at.root and at.key are the two parts of shelf://root/key
    async def stat(self, at):
        return ObjectInfo(at.key, len(self[at.root, at.key])) if (at.root, at.key) in self else None

    async def read(self, at, start=0, end=None, chunk_bytes=2**20):
        if await self.stat(at) is None:
            raise FileNotFoundError(f"{at.uri!r} is not on the shelf")
        for first in range(0, len(data := self[at.root, at.key][start:end]), chunk_bytes):
            yield data[first : first + chunk_bytes]

    async def write(self, at, chunks, *sizes):  # whole, or not at all
        self[at.root, at.key] = b"".join([bytes(chunk) async for chunk in chunks])

    async def list(self, at):
        for key in sorted(key for root, key in self if root == at.root and key.startswith(f"{at.key}/".lstrip("/"))):
            yield ObjectInfo(key, len(self[at.root, key]))


register_store("shelf", Shelf)  # or an entry point of the group flyte.plugins.storage
env = flyte.TaskEnvironment(name="shelf")


@env.task
async def main() -> flyte.io.File:
    return await flyte.io.File.from_local(__file__)


if __name__ == "__main__":
    print(flyte.with_runcontext(raw_data_path="shelf://run").run(main).result.path)
