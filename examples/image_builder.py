"""An image builder of your own: says whether an image is there, and builds it if not; this one only writes its name.

$ python examples/image_builder.py
$ flyte build examples/image_builder.py
$ flyte run examples/image_builder.py main
"""

import flyte
from flyte.extend import ImageBuildEngine

built: set[str] = set()


class ShelfBuilder:
    async def build_image(self, image: flyte.Image, dry_run: bool, **options: object) -> str:
        built.add(image.uri)
        return image.uri

    def get_checkers(self) -> list[object]:
        return [self]  # asked first; it may be another object

    async def image_exists(self, repository: str, tag: str, arch: tuple[str, ...] = ()) -> str | None:
        return f"{repository}:{tag}" if f"{repository}:{tag}" in built else None


ImageBuildEngine.register("shelf", ShelfBuilder)  # or an entry point of the group flyte.plugins.image_builders
flyte.init(image_builder="shelf")
image = flyte.Image.from_base("example.com/base:1").clone(name="tools", registry="example.com", extendable=True)
env = flyte.TaskEnvironment(name="shelf", image=image.with_env_vars({"A": "1"}))


@env.task
async def main() -> str:
    return "no image is needed here"


if __name__ == "__main__":
    for made in map(flyte.build, (env.image, env.image.with_env_vars({"B": "2"}), env.image)):
        print("built" if made.built else "there", made.uri.partition(":")[0])
