"""Configuration: what a file and the environment say, and where each value came from.

Called by the ``init_from_config`` family and by the command line. A file may be written for other tools of the same
platform too, so keys that this package does not know are kept aside, never an error. Values are checked where they
enter; a message names the key and the place, and never the value of a secret.

YAML and pydantic are loaded when a file or a variable is read, not before.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from flyte._core.config_files import find_config_file
from flyte.errors import InitializationError

__all__ = [
    "Config",
    "ConfigFile",
    "ImageConfig",
    "LocalConfig",
    "Origin",
    "PlatformConfig",
    "TaskConfig",
    "auto",
    "get_config_file",
    "set_if_exists",
]

AuthType = Literal["Pkce", "ClientSecret", "ExternalCommand", "DeviceFlow", "Passthrough", "None"]
AUTH_TYPES: dict[str, AuthType] = {
    "pkce": "Pkce",
    "clientsecret": "ClientSecret",
    "clientcredentials": "ClientSecret",
    "appcredential": "ClientSecret",
    "externalcommand": "ExternalCommand",
    "command": "ExternalCommand",
    "custom": "ExternalCommand",
    "deviceflow": "DeviceFlow",
    "headless": "DeviceFlow",
    "passthrough": "Passthrough",
    "none": "None",
}
"""Every spelling, without case, ``-`` and ``_`` -> the name that the configuration uses."""

_LARGEST_FILE_BYTES = 1 << 20  # a configuration is a page of text; more is another file by mistake
_LARGEST_SECRET_BYTES = 64 << 10


def read_auth_type(value: str) -> AuthType:
    """The way to authenticate that ``value`` names, however its words are joined.

    :raises ValueError: no such way.
    """
    known = AUTH_TYPES.get(value.lower().replace("-", "").replace("_", ""))
    if known is None:
        raise ValueError(
            f"{value!r} is no way to authenticate; use one of {', '.join(dict.fromkeys(AUTH_TYPES.values()))}"
        )
    return known


# What there is to configure -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    :param kind: ``"default"``, ``"file"``, ``"environment"`` or ``"argument"``.
    :param place: the file, the variable or the call; empty for a default.
    """

    kind: Literal["default", "file", "environment", "argument"]
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """The control plane and how to get there (section ``admin`` of a file).

    :param endpoint: ``host``, ``host:port``, or either after ``dns:///``, ``http://`` or ``https://``.
    :param insecure: plain text, without TLS and without any credentials.
    :param insecure_skip_verify: trust whatever certificate the server shows.
    :param ca_cert_file_path: PEM file of the authorities to trust instead of the system's.
    :param console_endpoint: host of the web console, if it differs.
    :param command: command whose output is the token (ExternalCommand).
    :param proxy_command: command whose output is the token for a proxy in front of the control plane.
    :param client_id: id of this client at the issuer; the server says it if not given.
    :param client_credentials_secret: secret of this client.
    :param scopes: to ask for; the server says them if not given.
    :param auth_mode: ``Pkce``, ``ClientSecret``, ``ExternalCommand``, ``DeviceFlow``, ``Passthrough`` or ``None``.
    :param audience: to ask for; the server says it if not given.
    :param rpc_retries: extra attempts of a failed call.
    :param http_proxy_url: proxy for every outbound connection.
    :param disable_keyring: keep tokens in a file, not in the keyring of the operating system.
    """

    endpoint: str | None = None
    insecure: bool = False
    insecure_skip_verify: bool = False
    ca_cert_file_path: str | None = None
    console_endpoint: str | None = None
    command: list[str] | None = field(default=None, repr=False)
    proxy_command: list[str] | None = field(default=None, repr=False)
    client_id: str | None = None
    client_credentials_secret: str | None = field(default=None, repr=False)
    scopes: list[str] = field(default_factory=list)
    auth_mode: AuthType = "Pkce"
    audience: str | None = None
    rpc_retries: int = 3
    http_proxy_url: str | None = field(default=None, repr=False)  # it may hold a password
    disable_keyring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """Defaults of every identifier (section ``task``)."""

    org: str | None = None
    project: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """Images (section ``image``).

    :param builder: ``local``, ``local-podman``, ``remote`` or the name of a plugin.
    :param image_refs: name -> URI, for ``Image.from_ref_name``.
    :param registry: where built images are pushed if the image does not say.
    """

    builder: str | None = None
    image_refs: dict[str, str] = field(default_factory=dict)
    registry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig:
    """Runs in the user's own process (section ``local``)."""

    persistence: bool = False
    tracked: bool = False
    tracked_strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that is configured.

    :param source: the file that was read; None if there was none.
    :param origins: key as in a file -> where its value came from; a key that is not there has its default.
    :param unknown: keys of the file that this package does not know.
    """

    platform: PlatformConfig = field(default_factory=PlatformConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    source: Path | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)
    unknown: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def auto(cls, config_file: "str | Path | ConfigFile | None" = None) -> "Config":
        """The configuration of a file and the environment; see :func:`auto`."""
        return auto(config_file)

    def with_params(
        self,
        platform: PlatformConfig | None = None,
        task: TaskConfig | None = None,
        image: ImageConfig | None = None,
        local: LocalConfig | None = None,
    ) -> "Config":
        """This configuration with other sections."""
        given = {"platform": platform, "task": task, "image": image, "local": local}
        return replace(self, **cast(Any, {name: value for name, value in given.items() if value is not None}))

    def explain(self) -> list[tuple[str, str, Origin]]:
        """Every key, its value as text and where it came from; secrets are shown as ``<set>``."""
        rows: list[tuple[str, str, Origin]] = []
        for setting in SETTINGS:
            if setting.section:
                value = getattr(getattr(self, setting.section), setting.field)
                rows.append((setting.key, _shown(value, setting), self.origins.get(setting.key, DEFAULT)))
        return rows


# Every key ------------------------------------------------------------------------------------------------------------

Kind = Literal["text", "flag", "words", "map", "auth type", "number", "path"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a file, its environment variables, and the field that holds it.

    :param section: field of :class:`Config`; empty for a key that only leads to another value.
    :param secret: its value is never shown.
    """

    key: str
    section: str
    field: str
    kind: Kind = "text"
    aliases: tuple[str, ...] = ()
    secret: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the environment variables, the preferred one first."""
        return (*self.aliases, "FLYTE_" + self.key.upper().replace(".", "_"))


SETTINGS = (
    Setting("admin.endpoint", "platform", "endpoint"),
    Setting("admin.insecure", "platform", "insecure", "flag"),
    Setting("admin.insecureSkipVerify", "platform", "insecure_skip_verify", "flag"),
    Setting("admin.caCertFilePath", "platform", "ca_cert_file_path", "path"),
    Setting("admin.httpProxyURL", "platform", "http_proxy_url", secret=True),
    Setting("admin.authType", "platform", "auth_mode", "auth type", ("FLYTE_AUTH_TYPE",)),
    Setting("admin.command", "platform", "command", "words", ("FLYTE_AUTH_COMMAND",)),
    Setting("admin.proxyCommand", "platform", "proxy_command", "words", ("FLYTE_AUTH_PROXY_COMMAND",)),
    Setting("admin.clientId", "platform", "client_id"),
    # The secret itself is never in the file; these two keys say where it is.
    Setting("admin.clientSecretLocation", "", "client_secret_location", "path"),
    Setting("admin.clientSecretEnvVar", "", "client_secret_variable"),
    Setting("admin.clientSecret", "platform", "client_credentials_secret", secret=True),
    Setting("admin.scopes", "platform", "scopes", "words"),
    Setting("admin.audience", "platform", "audience"),
    Setting("admin.rpcRetries", "platform", "rpc_retries", "number"),
    Setting("admin.disableKeyring", "platform", "disable_keyring", "flag"),
    Setting("console.endpoint", "platform", "console_endpoint"),
    Setting("task.org", "task", "org"),
    Setting("task.project", "task", "project"),
    Setting("task.domain", "task", "domain"),
    Setting("image.builder", "image", "builder"),
    Setting("image.image_refs", "image", "image_refs", "map"),
    Setting("image.registry", "image", "registry"),
    Setting("local.persistence", "local", "persistence", "flag"),
    Setting("local.tracked", "local", "tracked", "flag"),
    Setting("local.tracked_strict", "local", "tracked_strict", "flag"),
)
_SECTIONS = {setting.key.partition(".")[0] for setting in SETTINGS}


def _shown(value: Any, setting: Setting) -> str:
    if value is None or value in ([], {}):
        return "-"
    if setting.secret:
        return "<set>"
    if setting.field in ("command", "proxy_command"):
        # Its arguments may hold a password.
        more = f" ... ({len(value) - 1} more words)" if len(value) > 1 else ""
        return f"{value[0]}{more}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)


def _refuse(message: str) -> InitializationError:
    return InitializationError("InvalidConfigurationError", "user", message)


_ASKS = {
    "text": "a text",
    "path": "a path",
    "flag": "true or false",
    "words": "a list of texts",
    "map": "a map of names to texts",
    "number": "a whole number from 0 on",
    "auth type": "one of " + ", ".join(dict.fromkeys(AUTH_TYPES.values())),
}


def _check(setting: Setting, value: Any, place: str) -> Any:
    """``value`` if it has the form of the setting.

    :raises InitializationError: it has not; the message does not repeat it, for it may be a secret in the wrong place.
    """
    from pydantic import Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError

    forms: dict[str, Any] = {
        "text": Annotated[StrictStr, Field(min_length=1)],
        "path": Annotated[StrictStr, Field(min_length=1)],
        "auth type": StrictStr,
        "flag": StrictBool,
        "number": Annotated[StrictInt, Field(ge=0, le=1000)],
        "words": list[Annotated[StrictStr, Field(min_length=1)]],
        "map": dict[StrictStr, Annotated[StrictStr, Field(min_length=1)]],
    }
    try:
        checked = TypeAdapter(forms[setting.kind]).validate_python(value)
        return read_auth_type(checked) if setting.kind == "auth type" else checked
    except (ValidationError, ValueError):
        got = type(value).__name__
        raise _refuse(f"{setting.key} in {place} must be {_ASKS[setting.kind]}, but it is another {got}") from None


# A file ---------------------------------------------------------------------------------------------------------------


class ConfigFile:
    """A file, read.

    :param location: its path.
    :raises InitializationError: it cannot be read, or is no YAML with a map at the top.
    """

    def __init__(self, location: str | Path) -> None:
        import yaml

        self.path = Path(location).expanduser()
        try:
            if self.path.stat().st_size > _LARGEST_FILE_BYTES:
                raise _refuse(f"{self.path} is larger than {_LARGEST_FILE_BYTES} bytes, so it is no configuration file")
            content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _refuse(f"the configuration file {self.path} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            # What YAML quotes of the text may be a secret, so only the line is told.
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark is not None else ""
            raise _refuse(f"{self.path}{where}: it is no YAML that can be read") from None
        if content is not None and not isinstance(content, dict):
            raise _refuse(
                f"{self.path} must hold sections such as 'admin:' at the top, but is a {type(content).__name__}"
            )
        self.content: dict[Any, Any] = content or {}

    def get(self, key: str) -> Any:
        """The value of a key such as ``"admin.endpoint"``; None if it is not there.

        :raises InitializationError: the section is no map.
        """
        section, _, name = key.partition(".")
        values = self.content.get(section)
        if values is not None and not isinstance(values, dict):
            raise _refuse(f"{section} in {self.path} must be a section with keys, but is a {type(values).__name__}")
        return values.get(name) if values else None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Keys in our sections that are none of ours."""
        known = {setting.key for setting in SETTINGS}
        keys = [
            f"{section}.{name}"
            for section, values in self.content.items()
            if section in _SECTIONS and isinstance(values, dict)
            for name in values
        ]
        return tuple(key for key in keys if key not in known)


def get_config_file(c: "str | Path | ConfigFile | None") -> ConfigFile | None:
    """The file that ``c`` names, or the first one found if ``c`` is None, or None if there is none.

    :raises InitializationError: ``c`` names a file that does not exist or cannot be read.
    """
    if isinstance(c, ConfigFile):
        return c
    if c is None:
        found = find_config_file()
        return ConfigFile(found) if found is not None else None
    if not Path(c).expanduser().is_file():
        raise _refuse(f"the configuration file {str(c)!r} does not exist (working directory: {Path.cwd()})")
    return ConfigFile(c)


# The environment ------------------------------------------------------------------------------------------------------

_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _from_text(setting: Setting, text: str, variable: str) -> Any:
    if setting.kind == "flag":
        if text.lower() not in _FLAGS:
            raise _refuse(f"{variable} must be true or false (or 1, 0, yes, no, on, off)")
        return _FLAGS[text.lower()]
    if setting.kind == "number":
        return int(text) if text.isascii() and text.isdigit() else text
    if setting.kind == "words":
        try:
            return json.loads(text) if text.lstrip().startswith("[") else _words(setting, text)
        except ValueError:
            raise _refuse(f"{variable} must be words as a shell reads them, or a JSON list of texts") from None
    if setting.kind == "map":
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text)
            except ValueError:
                raise _refuse(f"{variable} must be NAME=URI,... or a JSON object") from None
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise _refuse(f"{variable} must be NAME=URI,... or a JSON object")
        return {name.strip(): uri.strip() for name, _, uri in pairs}
    return text


def _words(setting: Setting, text: str) -> list[str]:
    # Scopes are separated by commas as often as by spaces; in a command a comma is a comma.
    return shlex.split(text.replace(",", " ") if setting.field == "scopes" else text)


# Together -------------------------------------------------------------------------------------------------------------


def auto(config_file: str | Path | ConfigFile | None = None) -> Config:
    """The configuration that a file and the environment give together; the environment wins.

    The file is ``config_file`` or the first that exists of: ``./config.yaml``, ``./.flyte/config.yaml``,
    ``.flyte/config.yaml`` at the root of the git repository, ``$UCTL_CONFIG``, ``$FLYTECTL_CONFIG``,
    ``~/.union/config.yaml``, ``~/.flyte/config.yaml``. The variable of a key is ``FLYTE_`` and the key in capitals with
    ``_`` for dots, such as ``FLYTE_ADMIN_ENDPOINT``; ``FLYTE_AUTH_TYPE``, ``FLYTE_AUTH_COMMAND`` and
    ``FLYTE_AUTH_PROXY_COMMAND`` come before theirs. An empty variable counts as not set.

    :raises InitializationError: the file does not exist or cannot be read, or a value has the wrong form.
    """
    return _read(get_config_file(config_file))


def from_environment() -> Config:
    """The configuration of the environment alone, whatever files there are; see :func:`auto`.

    :raises InitializationError: a value has the wrong form.
    """
    return _read(None)


def _read(file: ConfigFile | None) -> Config:
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for setting in SETTINGS:
        variable = next((name for name in setting.variables if os.environ.get(name)), None)
        if variable is not None:
            values[setting.key] = _check(setting, _from_text(setting, os.environ[variable], variable), variable)
            origins[setting.key] = Origin("environment", variable)
        elif file is not None and (value := file.get(setting.key)) is not None:
            values[setting.key] = _check(setting, value, str(file.path))
            origins[setting.key] = Origin("file", str(file.path))
        if setting.kind == "path" and setting.key in values:
            values[setting.key] = os.path.expanduser(values[setting.key])
    _read_client_secret(values, origins)
    # A file written for other clients may still say Pkce, which needs no secret.
    if "admin.clientSecret" in values and values.get("admin.authType", "Pkce") == "Pkce":
        values["admin.authType"] = "ClientSecret"
        origins["admin.authType"] = Origin(origins["admin.clientSecret"].kind, "(because there is a client secret)")
    sections: dict[str, dict[str, Any]] = {"platform": {}, "task": {}, "image": {}, "local": {}}
    for setting in SETTINGS:
        if setting.section and setting.key in values:
            sections[setting.section][setting.field] = values[setting.key]
    return Config(
        platform=PlatformConfig(**sections["platform"]),
        task=TaskConfig(**sections["task"]),
        image=ImageConfig(**sections["image"]),
        local=LocalConfig(**sections["local"]),
        source=file.path if file is not None else None,
        origins=origins,
        unknown=file.unknown if file is not None else (),
    )


def _read_client_secret(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Follow the keys that say where the client's secret is."""
    if "admin.clientSecret" in values:
        if origins["admin.clientSecret"].kind == "file":
            place = origins["admin.clientSecret"].place
            raise _refuse(
                f"admin.clientSecret in {place}: a secret does not belong in a configuration file; put it in a file of "
                "its own and name that in admin.clientSecretLocation"
            )
        return
    variable = values.get("admin.clientSecretEnvVar")
    if variable is not None:
        if not os.environ.get(variable):
            raise _refuse(f"admin.clientSecretEnvVar names the variable {variable}, which is not set")
        values["admin.clientSecret"] = os.environ[variable]
        origins["admin.clientSecret"] = Origin("environment", f"{variable} (named by admin.clientSecretEnvVar)")
        return
    location = values.get("admin.clientSecretLocation")
    if location is not None:
        try:
            with open(location, encoding="utf-8") as file:
                secret = file.read(_LARGEST_SECRET_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise _refuse(f"admin.clientSecretLocation names {location}, which cannot be read: {reason}") from None
        if not secret:
            raise _refuse(f"admin.clientSecretLocation names {location}, which is empty")
        values["admin.clientSecret"] = secret
        origins["admin.clientSecret"] = Origin("file", f"{location} (named by admin.clientSecretLocation)")


def set_if_exists(d: dict[str, Any], k: str, val: Any) -> dict[str, Any]:
    """``d`` with ``val`` under ``k``, if ``val`` is something."""
    if isinstance(val, bool) or val:
        d[k] = val
    return d
