"""The folder that a builder reads: the Dockerfile, and only what it names, the same for the same recipe.

Times, owners and modes of this machine are left behind, as a builder's layer cache may look at them. Secrets lie in a
folder beside it, one file each, readable by this user only, and are gone when the build is over.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flyte._definition.layers import files_below
from flyte._definition.secret import Secret, file_here, value_here
from flyte.errors import ImageBuildError

from .dockerfile import Recipe, Source, secret_id

_TIME_S = 315_532_800  # 1980-01-01, the first that every archive format can say


@dataclass(frozen=True, slots=True)
class BuildFolder:
    """What a builder is given.

    :param dockerfile: its path.
    :param context: the folder that it copies from.
    :param secrets: the file of each secret, by its id.
    :param hidden: texts that must not be shown, the values of the secrets.
    """

    dockerfile: Path
    context: Path
    secrets: Mapping[str, Path]
    hidden: tuple[str, ...]


@contextmanager
def build_folder(recipe: Recipe, secrets: Mapping[str, str]) -> Iterator[BuildFolder]:
    """The folders of one build, removed at the end of the ``with`` block.

    :param secrets: values, by id.
    """
    with tempfile.TemporaryDirectory(prefix="flyte-build-") as made:
        top = Path(made)
        dockerfile, context = top / "Dockerfile", top / "context"
        dockerfile.write_text(recipe.text, encoding="utf-8")
        if recipe.context is None:
            context.mkdir()
            for source in recipe.sources:
                _bring(source, context)
            _level(context)
        else:
            context = recipe.context
        kept = top / "secrets"
        kept.mkdir(mode=0o700)
        paths = {}
        for name, value in secrets.items():
            paths[name] = kept / name
            with open(os.open(paths[name], os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(value)
        yield BuildFolder(dockerfile, context, paths, tuple(secrets.values()))


def read_secrets(recipe: Recipe) -> dict[str, str]:
    """The values of the secrets that a build needs, by id.

    Each is looked for as in a run on this machine, see :func:`flyte._definition.secret.value_here`.

    :raises flyte.errors.ImageBuildError: one is nowhere.
    """
    found = {}
    for secret in recipe.secrets:
        value = value_here(secret)
        if value is None:
            default = Secret(key=secret.key, group=secret.group, as_env_var=secret.as_env_var)
            raise ImageBuildError(
                f"secret {secret.key!r}, which building the image needs, is not set on this machine: set the "
                f"environment variable {default.env_var_name} or write it to {file_here(secret)}"
            )
        found[secret_id(secret)] = value
    return found


def _bring(source: Source, context: Path) -> None:
    target = context / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.path is None:
        target.write_text(source.text or "", encoding="utf-8")
        return
    try:
        if not source.path.is_dir():
            shutil.copyfile(source.path, target)
            os.chmod(target, _mode_of(source.path))
            return
        target.mkdir(exist_ok=True)
        for name, path in files_below(source.path, source.ignoring):
            inner = target / name
            inner.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inner, follow_symlinks=False)
            if not path.is_symlink():
                os.chmod(inner, _mode_of(path))
    except OSError as error:
        raise ImageBuildError(f"{source.path} could not be copied into the build's context: {error}") from error


def _mode_of(path: Path) -> int:
    return 0o755 if os.access(path, os.X_OK) else 0o644


def _level(context: Path) -> None:
    for folder, folders, files in os.walk(context):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o755)
            os.utime(path, (_TIME_S, _TIME_S), follow_symlinks=False)
    os.utime(context, (_TIME_S, _TIME_S))
