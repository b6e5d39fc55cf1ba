"""Images as values: a recipe of a base and layers, and the tag that names it.

An :class:`Image` says what is to be in a container image; `_package` builds one. Nothing here reads a file before the
tag is asked for, and nothing reaches a registry.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flyte._core.version import VERSION
from flyte.errors import ImageBuildError

from .image_arguments import (
    Architecture,
    check_mode,
    check_name,
    check_platform,
    check_python,
    check_registry,
    first_secret,
    path_from,
    pip_options,
    secret_mounts_from,
    texts_from,
)
from .secret import Secret, SecretRequest

if TYPE_CHECKING:
    # The layers cost start-up time, which only those who change an image have to spend.
    from .layers import Layer, ProjectInstallMode

_MADE_HERE = object()
_DEFAULT_NAME = "flyte"
_DEFAULT_REPOSITORY = "ghcr.io/flyteorg/flyte"  # wire-protocol section 9
_DEFAULT_PLATFORMS: tuple[Architecture, ...] = ("linux/amd64", "linux/arm64")

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def _running_python() -> tuple[int, int]:
    return sys.version_info[:2]


def _missing(method: str, instead: str) -> Callable[..., "Image"]:
    def refuse(*_arguments: Any, **_options: Any) -> "Image":
        raise NotImplementedError(f"Image.{method} is not available in this version of flyte: {instead}")

    return refuse


@dataclass(frozen=True, slots=True)
class Image:
    """The recipe of a container image. Immutable: each ``with_...`` gives another image.

    Start with :meth:`from_debian_base`, :meth:`from_base`, :meth:`from_uv_script`, :meth:`from_dockerfile` or
    :meth:`from_ref_name`. The same recipe has the same tag on every machine, another recipe another tag.

    :param base_image: what it is built on.
    :param dockerfile: or the file that builds it.
    :param registry: where it is pushed to.
    :param name: its name there.
    :param platform: what machines it is for.
    :param python_version: of the virtual environment that packages go into.
    :param extendable: whether layers may be put on it.
    :raises TypeError: called directly.
    """

    base_image: str | None = None
    dockerfile: Path | None = None
    registry: str | None = None
    name: str | None = None
    platform: tuple[Architecture, ...] = ("linux/amd64",)
    python_version: tuple[int, int] = field(default_factory=_running_python)
    extendable: bool = False
    _ref_name: str | None = None
    # In place of the digest of the recipe; "latest" is built whenever it is asked for.
    _tag: str | None = None
    _layers: "tuple[Layer, ...]" = ()
    _image_registry_secret: Secret | None = None
    # Whether it is another image than its base, even without layers.
    _renamed: bool = field(default=False, repr=False)
    # A Python version that was asked for is part of the recipe; the one that happens to run here is not.
    _python_asked: bool = field(default=False, repr=False)
    _maker: object = field(default=None, repr=False, compare=False)
    _uri: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._maker is not _MADE_HERE:
            raise TypeError(
                "an Image is not made directly; use Image.from_debian_base(), from_base(uri) or another from_..."
            )

    # Starting ---------------------------------------------------------------------------------------------------------

    @classmethod
    def default(cls) -> "Image":
        """The image that ``"auto"`` stands for: Debian, this Python, flyte installed."""
        return cls.from_debian_base()

    @classmethod
    def from_debian_base(
        cls,
        python_version: tuple[int, int] | None = None,
        flyte_version: str | None = None,
        install_flyte: bool = True,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        name: str | None = None,
        platform: tuple[Architecture, ...] | None = None,
    ) -> "Image":
        """Debian with Python and flyte installed.

        :param python_version: such as ``(3, 12)``; default the one that runs here.
        :param flyte_version: default this one.
        :param install_flyte: False for a Python image without flyte, to be built on.
        :param registry: where what is made of it is pushed to.
        :param registry_secret: secret for that registry, or its key.
        :param name: name of what is made of it; default ``"flyte"``.
        :param platform: default ``("linux/amd64", "linux/arm64")``.
        :raises ValueError: a Python below 3.10, or an unknown platform.
        """
        major, minor = check_python(python_version) if python_version is not None else _running_python()
        if install_flyte:
            base = f"{_DEFAULT_REPOSITORY}:py{major}.{minor}-v{flyte_version or VERSION}"
        else:
            base = f"python:{major}.{minor}-slim-bookworm"
        return cls(
            base_image=base,
            registry=check_registry(registry),
            name=check_name(name) or _DEFAULT_NAME,
            platform=_DEFAULT_PLATFORMS if platform is None else check_platform(platform),
            python_version=(major, minor),
            extendable=True,
            _image_registry_secret=first_secret(registry_secret),
            _renamed=bool(registry or name) or not install_flyte,
            _maker=_MADE_HERE,
        )

    @classmethod
    def from_base(cls, image_uri: str) -> "Image":
        """An image that is there already, under its own URI.

        To put layers on it, first ``clone(name=..., extendable=True)``.

        :param image_uri: ``<registry>/<name>:<tag>``.
        """
        if image_uri is not None and not isinstance(image_uri, str):
            raise TypeError(
                f"Image.from_base: image_uri takes a text such as '<registry>/<name>:<tag>', got {image_uri!r}"
            )
        # Empty is let through until the URI is asked for: where the file is only read, a variable may not be set.
        return cls(base_image=image_uri, _maker=_MADE_HERE)

    @classmethod
    def from_dockerfile(
        cls,
        file: Path | str,
        registry: str,
        name: str,
        platform: Architecture | tuple[Architecture, ...] | None = None,
    ) -> "Image":
        """An image built from a Dockerfile; no layers can be put on it.

        :param file: the Dockerfile; its folder is the build's context. The tag follows from the Dockerfile alone: if
            only other files of the folder have changed, build it with ``force=True``.
        :raises ValueError: a bad name or platform.
        """
        return cls(
            dockerfile=path_from("from_dockerfile", "file", file),
            registry=check_registry(registry),
            name=check_name(name),
            platform=("linux/amd64",) if platform is None else check_platform(platform),
            _renamed=True,
            _maker=_MADE_HERE,
        )

    @classmethod
    def from_uv_script(
        cls,
        script: Path | str,
        *,
        name: str,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        python_version: tuple[int, int] | None = None,
        index_url: str | None = None,
        extra_index_urls: str | list[str] | tuple[str, ...] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        platform: tuple[Architecture, ...] | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> "Image":
        """Python with the dependencies that a script names in its header (PEP 723); flyte has to be among them.

        :param script: the script; of it, only the header is part of the recipe.
        """
        from .layers import UVScript

        plain = cls.from_debian_base(
            python_version=python_version,
            install_flyte=False,
            registry=registry,
            registry_secret=registry_secret,
            name=name,
            platform=platform,
        )
        options = pip_options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return plain._with(UVScript(script=path_from("from_uv_script", "script", script), **options))

    @classmethod
    def from_ref_name(cls, name: str = "default") -> "Image":
        """An image that the configuration knows by name (``images`` of ``flyte.init``)."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"Image.from_ref_name: name takes the name of an image in the configuration, got {name!r}")
        return cls(name=name, _ref_name=name, _maker=_MADE_HERE)

    # Adding -----------------------------------------------------------------------------------------------------------

    def with_pip_packages(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_urls: str | list[str] | tuple[str, ...] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> "Image":
        """The image with Python packages.

        :param packages: requirements, such as ``"pandas>=2"``; with none, the image stays as it is.
        :param index_url: index to use instead of PyPI.
        :param extra_index_urls: indexes to use beside it.
        :param pre: whether pre-releases count.
        :param extra_args: further arguments of the installer.
        :param secret_mounts: secrets that are readable while it runs.
        :raises ValueError: the image cannot be extended.
        """
        from .layers import PipPackages

        options = pip_options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        found = texts_from("with_pip_packages", "packages", packages)
        return self._with(PipPackages(packages=found, **options)) if found else self._unchanged()

    def with_requirements(
        self,
        file: str | Path,
        index_url: str | None = None,
        extra_index_urls: str | list[str] | tuple[str, ...] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> "Image":
        """The image with the Python packages of a requirements file; its bytes are part of the recipe.

        :param file: a ``.txt`` file.
        :raises ValueError: another file, or the image cannot be extended.
        """
        from .layers import Requirements

        path = path_from("with_requirements", "file", file)
        if path.suffix != ".txt":
            raise ValueError(
                f"Image.with_requirements: file={str(file)!r} is not a .txt file; use with_uv_project for others"
            )
        options = pip_options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return self._with(Requirements(file=path, **options))

    def with_uv_project(
        self,
        pyproject_file: str | Path,
        uvlock: Path | None = None,
        index_url: str | None = None,
        extra_index_urls: list[str] | tuple[str, ...] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        project_install_mode: "ProjectInstallMode" = "dependencies_only",
    ) -> "Image":
        """The image with the dependencies of a uv project.

        :param pyproject_file: its ``pyproject.toml``.
        :param uvlock: its lock file; default ``uv.lock`` beside it, if there is one.
        :param project_install_mode: ``"install_project"`` for the project itself as well.
        """
        from .layers import UVProject

        pyproject = path_from("with_uv_project", "pyproject_file", pyproject_file)
        lock = pyproject.parent / "uv.lock"
        options = pip_options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return self._with(
            UVProject(
                pyproject=pyproject,
                uvlock=path_from("with_uv_project", "uvlock", uvlock) if uvlock else lock if lock.exists() else None,
                project_install_mode=check_mode("with_uv_project", project_install_mode),
                **options,
            )
        )

    def with_poetry_project(
        self,
        pyproject_file: str | Path,
        poetry_lock: Path | None = None,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        project_install_mode: "ProjectInstallMode" = "dependencies_only",
    ) -> "Image":
        """The image with the dependencies of a Poetry project.

        :param pyproject_file: its ``pyproject.toml``.
        :param poetry_lock: its lock file; default ``poetry.lock`` beside it.
        :param project_install_mode: ``"install_project"`` for the project itself as well.
        """
        from .layers import PoetryProject

        pyproject = path_from("with_poetry_project", "pyproject_file", pyproject_file)
        lock = (
            path_from("with_poetry_project", "poetry_lock", poetry_lock)
            if poetry_lock
            else pyproject.parent / "poetry.lock"
        )
        return self._with(
            PoetryProject(
                pyproject,
                lock,
                extra_args,
                check_mode("with_poetry_project", project_install_mode),
                secret_mounts_from(secret_mounts),
            )
        )

    def with_apt_packages(self, *packages: str, secret_mounts: SecretRequest | None = None) -> "Image":
        """The image with Debian packages; with none, it stays as it is."""
        from .layers import AptPackages

        found = texts_from("with_apt_packages", "packages", packages)
        return self._with(AptPackages(found, secret_mounts_from(secret_mounts))) if found else self._unchanged()

    def with_commands(self, commands: list[str], secret_mounts: SecretRequest | None = None) -> "Image":
        """The image after some shell commands; with none, it stays as it is."""
        from .layers import Commands

        if isinstance(commands, str):
            raise TypeError(f"Image.with_commands: commands takes a list of commands, got a text; write [{commands!r}]")
        found = texts_from("with_commands", "commands", commands)
        return self._with(Commands(found, secret_mounts_from(secret_mounts))) if found else self._unchanged()

    def with_env_vars(self, env_vars: dict[str, str]) -> "Image":
        """The image with environment variables, in the order given; with none, it stays as it is.

        :raises TypeError: a value that is not a text.
        :raises ValueError: a name that is not a variable's.
        """
        from .layers import Env

        if not isinstance(env_vars, Mapping):
            raise TypeError(f"Image.with_env_vars: env_vars takes a dict of texts, got {env_vars!r}")
        for key, value in env_vars.items():
            if not isinstance(key, str) or re.fullmatch(_VARIABLE, key) is None:
                raise ValueError(f"Image.with_env_vars: {key!r} is not a variable's name; use letters, digits and _")
            if not isinstance(value, str):
                raise TypeError(f"Image.with_env_vars: {key!r} takes a text, got {value!r}; write {str(value)!r}")
        return self._with(Env(tuple(env_vars.items()))) if env_vars else self._unchanged()

    def with_workdir(self, workdir: str) -> "Image":
        """The image with another folder that commands start in.

        :raises ValueError: empty.
        """
        from .layers import WorkDir

        return self._with(WorkDir(*texts_from("with_workdir", "workdir", (workdir,))))

    def with_source_file(self, src: Path | list[Path], dst: str = ".") -> "Image":
        """The image with a file of this machine, or several; names and bytes are part of the recipe.

        :param dst: folder they go to, relative to the work dir unless absolute.
        """
        from .layers import CopyConfig

        image = self._unchanged()
        for one in src if isinstance(src, (list, tuple)) else [src]:
            image = image._with(CopyConfig("file", path_from("with_source_file", "src", one), dst))
        return image

    def with_source_folder(self, src: Path, dst: str = ".", copy_contents_only: bool = False) -> "Image":
        """The image with a folder of this machine; what is in it is part of the recipe, where it is is not.

        :param dst: folder it goes to, relative to the work dir unless absolute.
        :param copy_contents_only: what is in it goes to ``dst`` itself, not to a folder of its name there.
        """
        from .layers import CopyConfig

        folder = path_from("with_source_folder", "src", src)
        own = dst if copy_contents_only else f"{dst.rstrip('/') or ''}/{folder.resolve().name}"
        return self._with(CopyConfig("folder", folder, own))

    def with_dockerignore(self, path: Path) -> "Image":
        """The image with a file that says what of copied folders is left out."""
        from .layers import DockerIgnore

        return self._with(DockerIgnore(str(path_from("with_dockerignore", "path", path))))

    def with_local_v2(self) -> "Image":
        """The image with the flyte of this checkout, from the wheel in its ``dist`` folder."""
        from .layers import PythonWheels

        checkout = Path(__file__).parents[2]
        return self._with(PythonWheels(wheel_dir=checkout / "dist", package_name="flyte"))

    def with_code_bundle(
        self, copy_style: Literal["loaded_modules", "all"] = "loaded_modules", dst: str = "."
    ) -> "Image":
        """The image with the project's code, where the code does not travel beside it (copy style ``"none"``).

        :param copy_style: which files: the modules that are loaded, or all that no ignore file names.
        :param dst: folder they go to, relative to the work dir unless absolute.
        :raises ValueError: another style, or the image cannot be extended.
        """
        from .layers import Code

        if copy_style not in ("loaded_modules", "all"):
            raise ValueError(
                f"Image.with_code_bundle: copy_style={copy_style!r} is not known; use 'loaded_modules' or 'all'"
            )
        (into,) = texts_from("with_code_bundle", "dst", (dst,))
        return self._with(Code(copy_style, into))

    # Documented, but not here: they say so, instead of making an image that lacks something.
    with_local_v2_plugins = _missing("with_local_v2_plugins", "use with_pip_packages, or with_source_file for a wheel")
    with_local_rs_controller = _missing("with_local_rs_controller", "there is no such controller")
    with_pixi_project = _missing("with_pixi_project", "use with_uv_project, or with_commands to install pixi")
    from_pixi_script = staticmethod(_missing("from_pixi_script", "use from_uv_script"))

    def clone(
        self,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        name: str | None = None,
        base_image: str | None = None,
        python_version: tuple[int, int] | None = None,
        addl_layer: "Layer | None" = None,
        extendable: bool | None = None,
        platform: Architecture | tuple[Architecture, ...] | None = None,
    ) -> "Image":
        """A copy with some things changed; what is None is kept.

        :param base_image: build on this one instead.
        :param addl_layer: with this layer on top.
        :param extendable: whether layers may be put on the copy.
        :raises ValueError: a base or layers for an image that a Dockerfile builds, or a bad name or platform.
        """
        if self.dockerfile is not None and (extendable or base_image):
            raise ValueError(
                f"the image of {self.dockerfile} cannot be extended or get another base: its Dockerfile says what is "
                "in it; change that file, or use Image.from_base() of what it builds"
            )
        changes: dict[str, Any] = {
            "registry": check_registry(registry),
            "_image_registry_secret": first_secret(registry_secret),
            "name": check_name(name),
            "base_image": base_image,
            "extendable": extendable,
        }
        if python_version is not None:
            changes |= {"python_version": check_python(python_version), "_python_asked": True}
        if platform is not None:
            changes["platform"] = check_platform(platform)
        renamed = self._renamed or any(value is not None for value in (registry, name, python_version, platform))
        changes = {key: value for key, value in changes.items() if value is not None}
        image = replace(self, **changes, _renamed=renamed, _maker=_MADE_HERE)
        return image if addl_layer is None else image._with(addl_layer)

    def _with(self, layer: "Layer") -> "Image":
        self._check_extendable()
        if not self.name:
            raise ValueError(
                f"the image {self.base_image!r} has no name for what is made of it; use "
                "clone(name=..., extendable=True)"
            )
        return replace(self, _layers=(*self._layers, layer), _maker=_MADE_HERE)

    def _unchanged(self) -> "Image":
        self._check_extendable()
        return self

    def _check_extendable(self) -> None:
        if self.dockerfile is not None:
            raise ValueError(
                f"no layers can be put on the image of {self.dockerfile}: its Dockerfile says what is in it; change "
                "that file, or use Image.from_base() of what it builds"
            )
        if not self.extendable:
            raise ValueError(
                f"no layers can be put on the image {self.base_image or self._ref_name!r}, which is not extendable; "
                "use clone(name=..., extendable=True) first"
            )

    # Naming -----------------------------------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """Registry, name and tag. An image that is not changed keeps its base's.

        The tag is a digest of the recipe; the files that it is made of are read for it, once.

        :raises flyte.errors.ImageBuildError: a file is not there, or the recipe has no base or no name.
        """
        if self._uri is None:
            object.__setattr__(self, "_uri", self._compute_uri())
        assert self._uri is not None
        return self._uri

    def _compute_uri(self) -> str:
        if self._ref_name is not None:
            raise ImageBuildError(
                f"the image {self._ref_name!r} is known by name only; say which it is with flyte.init(images=...)"
            )
        if self.dockerfile is None and not self.base_image:
            raise ImageBuildError(
                f"the image has no base (got {self.base_image!r}), perhaps from a variable that is not set; give "
                "Image.from_base() a URI such as '<registry>/<name>:<tag>'"
            )
        if not self._layers and not self._renamed and self.base_image:
            return self.base_image
        if not self.name:
            raise ImageBuildError(f"the image made of {self.base_image!r} has no name; give one with clone(name=...)")
        repository = f"{self.registry}/{self.name}" if self.registry else self.name
        return f"{repository}:{self._tag or self._digest()}"

    def describe(self) -> dict[str, Any]:
        """What decides the content of the image, in JSON's types: the tag is a digest of it.

        :raises flyte.errors.ImageBuildError: a file that it is made of is not there.
        """
        from .layers import CopyConfig, DockerIgnore, hash_of_file

        ignoring = next((layer for layer in reversed(self._layers) if isinstance(layer, DockerIgnore)), None)
        return {
            "base": self.base_image,
            "dockerfile": None if self.dockerfile is None else hash_of_file(self.dockerfile),
            "platform": list(self.platform),
            "python": list(self.python_version) if self._python_asked else None,
            "layers": [
                layer.describe(ignoring) if isinstance(layer, CopyConfig) else layer.describe()
                for layer in self._layers
            ],
        }

    def _digest(self) -> str:
        import hashlib

        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        # 128 bits, as registries' users see it in every list.
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def validate(self) -> None:
        """Check that everything is there that the image is made of.

        :raises flyte.errors.ImageBuildError: it is not; the message names the file.
        """
        if self.dockerfile is not None and not self.dockerfile.is_file():
            raise ImageBuildError(f"there is no Dockerfile {self.dockerfile}; it is looked for from {Path.cwd()}")
        for layer in self._layers:
            layer.validate()
