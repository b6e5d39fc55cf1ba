"""What ``.gitignore`` and ``.flyteignore`` files, and this house, leave out of a bundle.

Called while a project's folders are walked; knows of names and patterns, not of bundles.
"""

import os
import re
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_VCS = frozenset({".git", ".hg", ".svn", ".bzr", ".jj"})
_ARCHIVE = re.compile(r"fast[0-9a-f]{32}\.tar\.gz")
_CACHES = frozenset(
    {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".ipynb_checkpoints",
     ".eggs", ".cache", "__pypackages__"}
)  # fmt: skip
_INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules"})
_STANDARD_LIBRARY = frozenset(
    os.path.realpath(p) for p in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")) if p
)
_SECRET_NAMES = re.compile(
    r"\.env(\..+)?|.+\.env|id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.+\.(p12|pfx|jks|keystore|ppk|kdbx)|\.netrc|\.pypirc"
    r"|\.htpasswd|\.git-credentials|\.pgpass|\.boto|\.s3cfg|\.dockercfg|\.vault-token|kubeconfig|.+\.kubeconfig"
    r"|application_default_credentials\.json|access_tokens\.db|accesstokens\.json|msal_token_cache\..+",
    re.IGNORECASE,
)
# Files that hold logins only because of the folder they are in.
_SECRET_PATHS = re.compile(r"(^|.*/)(\.aws/credentials|\.kube/config|\.docker/config\.json|\.azure/.+\.json)")
# Templates of such files, which projects commit on purpose.
_TEMPLATE_NAMES = re.compile(r".*\.(example|sample|template|dist)", re.IGNORECASE)
# The frame of a PEM key (RFC 7468) with key material after it, so that code that mentions the frame is no key.
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:\s|\\[rn])+[A-Za-z0-9+/=:\-]{32}")
# A cloud's secret key, with 40 characters of it, as its own tools write it to files.
_CLOUD_KEY = re.compile(
    rb"aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])", re.IGNORECASE
)


def folder_left_out(name: str, path: str) -> str | None:
    """Why a folder never travels unless named; None when it may."""
    if name in _VCS:
        return "version control"
    if name in _CACHES:
        return "cache"
    if name in _INSTALLED:
        return "installed packages"
    if os.path.exists(os.path.join(path, "pyvenv.cfg")) or os.path.isdir(os.path.join(path, "conda-meta")):
        return "virtual environment"
    if path in _STANDARD_LIBRARY:
        return "standard library"
    return None


def file_left_out(name: str) -> str | None:
    """Why a file never travels unless named; None when it may."""
    if name.endswith((".pyc", ".pyo")) or name == ".DS_Store":
        return "cache"
    if _ARCHIVE.fullmatch(name):
        return "a code bundle"
    return None


def is_installed(path: str) -> bool:
    """Whether a file belongs to an installed package or to Python itself."""
    parts = path.split(os.sep)
    if not _INSTALLED.isdisjoint(parts):
        return True
    return any(path.startswith(folder + os.sep) for folder in _STANDARD_LIBRARY)


def has_secret_name(path: str) -> bool:
    """Whether a file of this name usually holds secrets: ``.env``, private keys, logins to clouds and registries.

    :param path: with ``/``; the folders count where only they tell (``.aws/credentials``).
    """
    name = path.rpartition("/")[2]
    if (name.endswith(".py") and not name.startswith(".")) or _TEMPLATE_NAMES.fullmatch(name) is not None:
        return False
    return _SECRET_NAMES.fullmatch(name) is not None or _SECRET_PATHS.fullmatch(path) is not None


def holds_secret(content: bytes) -> bool:
    """Whether ``content`` holds a private key in PEM form, or a cloud's secret access key."""
    if b"PRIVATE KEY-----" in content and _PRIVATE_KEY.search(content) is not None:
        return True
    # Two searches for a constant are far quicker than one that ignores case.
    if b"aws_secret_access_key" not in content and b"AWS_SECRET_ACCESS_KEY" not in content:
        return False
    return _CLOUD_KEY.search(content) is not None


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a glob, not a plain path."""
    return any(c in text for c in "*?[")


class IgnoreRules:
    """The ignore files that apply in one folder: its own and those above it.

    A file's fate is decided as git does it: the last matching pattern of the nearest ignore file, and nothing below an
    ignored folder is looked at. ``.flyteignore`` is asked before ``.gitignore``, so that ``!name`` in it takes back in.
    """

    __slots__ = ("_specs",)

    def __init__(self, specs: "tuple[tuple[str, str, GitIgnoreSpec], ...]" = ()) -> None:
        # (name of the ignore file, prefix its patterns are relative to, patterns), the strongest first.
        self._specs = specs

    def enter(self, folder: str, prefix: str, names: "set[str] | dict[str, object]") -> "IgnoreRules":
        """The rules inside ``folder``, whose entries are ``names``.

        :raises ValueError: an ignore file holds a pattern that is none.
        """
        found = [n for n in (".flyteignore", ".gitignore") if n in names]
        if not found:
            return self
        from pathspec import GitIgnoreSpec

        specs = []
        for name in found:
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.rstrip("\n") for line in file]
            try:
                specs.append((name, prefix, GitIgnoreSpec.from_lines(lines)))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        merged = [*specs, *self._specs]
        merged.sort(key=lambda spec: spec[0] != ".flyteignore")  # stable: nearest first within each kind
        return IgnoreRules(tuple(merged))

    def ignoring(self, path: str) -> str | None:
        """Which ignore file leaves ``path`` out; None when it may travel.

        :param path: relative to the walk's root; a folder's ends with ``/``.
        """
        for name, prefix, spec in self._specs:
            if (verdict := spec.check_file(path[len(prefix) :]).include) is not None:
                return f"{name} in {prefix or './'}" if verdict else None
        return None


def rules_above(root: str) -> tuple[IgnoreRules, str]:
    """The rules of the git repository around ``root``, and what to put before paths so that they are relative to it."""
    top = root
    while not os.path.exists(os.path.join(top, ".git")):
        above = os.path.dirname(top)
        if above == top:
            return IgnoreRules(), ""
        top = above
    rules, folder, prefix = IgnoreRules(), top, ""
    for part in os.path.relpath(root, top).split(os.sep) if root != top else ():
        rules = rules.enter(folder, prefix, {n for n in (".flyteignore", ".gitignore")
                                             if os.path.exists(os.path.join(folder, n))})  # fmt: skip
        folder, prefix = os.path.join(folder, part), f"{prefix}{part}/"
    return rules, prefix
