"""The image build engine; its signature only, building is not in this version."""

from typing import ClassVar, Literal

from flyte._definition.image import Image


class ImageBuildEngine:
    """Builds the images that tasks run in."""

    ImageBuilderType: ClassVar = Literal["local", "remote"]

    @classmethod
    async def build(cls, image: Image, builder: str | None = None, dry_run: bool = False, force: bool = False) -> str:
        """Build ``image`` and give its URI.

        :raises NotImplementedError: always; this version of flyte does not build images.
        """
        raise NotImplementedError(
            "ImageBuildEngine.build() is not available in this version of flyte, which runs tasks in this process; "
            "build the image with another tool and name it with Image.from_base(uri)"
        )
