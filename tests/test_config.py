"""Config files and environment: order of places, forms of values, origins, and that no secret is ever shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte.config import SETTINGS, Config, ConfigFile, PlatformConfig, auto, get_config_file, read_auth_type
from flyte.errors import InitializationError


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and a working directory without any configuration."""
    for name in list(os.environ):
        if name.startswith(("FLYTE_", "UCTL_", "FLYTECTL_")) and name != "FLYTE_HOME":
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


FULL = """
admin:
  endpoint: dns:///flyte.example.com
  insecure: false
  insecureSkipVerify: true
  caCertFilePath: ~/ca.pem
  httpProxyURL: http://me:pw-of-proxy@proxy:3128
  authType: device_flow
  command: [mint, --token, pw-of-command]
  proxyCommand: [proxy-token]
  clientId: me
  scopes: [all, offline]
  disableKeyring: true
  rpcRetries: 5
console:
  endpoint: console.example.com
task: {org: o, project: p, domain: d}
image:
  builder: remote
  registry: reg.example.com/x
  image_refs: {base: "reg.example.com/base:1"}
local: {persistence: true}
"""


def test_nothing_configured_gives_the_defaults():
    config = auto()
    assert config == Config()
    assert config.source is None and config.platform.auth_mode == "Pkce"
    assert {str(origin) for _, _, origin in config.explain()} == {"default"}


def test_every_key_of_a_file(tmp_path):
    config = auto(write(tmp_path / "c.yaml", FULL))
    assert config.platform == PlatformConfig(
        endpoint="dns:///flyte.example.com",
        insecure_skip_verify=True,
        ca_cert_file_path=str(tmp_path / "home" / "ca.pem"),
        console_endpoint="console.example.com",
        command=["mint", "--token", "pw-of-command"],
        proxy_command=["proxy-token"],
        client_id="me",
        scopes=["all", "offline"],
        auth_mode="DeviceFlow",
        rpc_retries=5,
        http_proxy_url="http://me:pw-of-proxy@proxy:3128",
        disable_keyring=True,
    )
    assert (config.task.org, config.task.project, config.task.domain) == ("o", "p", "d")
    assert config.image.image_refs == {"base": "reg.example.com/base:1"} and config.image.builder == "remote"
    assert config.local.persistence and not config.local.tracked
    assert config.unknown == ()
    assert config.origins["task.org"].place == str(tmp_path / "c.yaml")


def test_no_secret_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("THE_SECRET", "pw-of-client")
    config = auto(write(tmp_path / "c.yaml", FULL.replace("clientId: me", "clientSecretEnvVar: THE_SECRET")))
    shown = repr(config) + str(config) + repr(config.explain()) + repr(config.origins)
    assert config.platform.client_credentials_secret == "pw-of-client"
    assert "pw-of" not in shown
    assert {key: value for key, value, _ in config.explain()}["admin.command"] == "mint ... (2 more words)"


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    work, home = tmp_path / "work", tmp_path / "home"
    (work / ".git").mkdir()
    inner = work / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    monkeypatch.setenv("UCTL_CONFIG", str(tmp_path / "uctl.yaml"))
    monkeypatch.setenv("FLYTECTL_CONFIG", str(tmp_path / "flytectl.yaml"))
    places = [
        inner / "config.yaml",
        inner / ".flyte" / "config.yaml",
        work / ".flyte" / "config.yaml",
        tmp_path / "uctl.yaml",
        tmp_path / "flytectl.yaml",
        home / ".union" / "config.yaml",
        home / ".flyte" / "config.yaml",
    ]
    for number, path in reversed(list(enumerate(places))):
        write(path, f"task: {{project: p{number}}}")
        config = auto()
        assert config.task.project == f"p{number}"
        assert config.source is not None and config.source.resolve() == path.resolve()


def test_the_environment_wins_and_is_read_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYTE_TASK_PROJECT", "from-variable")
    monkeypatch.setenv("FLYTE_ADMIN_INSECURE", "True")
    monkeypatch.setenv("FLYTE_ADMIN_SCOPES", "a,b c")
    monkeypatch.setenv("FLYTE_IMAGE_IMAGE_REFS", "x=y:1, z=w:2")
    monkeypatch.setenv("FLYTE_ADMIN_COMMAND", "lost")
    monkeypatch.setenv("FLYTE_AUTH_COMMAND", "mint --for 'two words'")
    monkeypatch.setenv("FLYTE_AUTH_PROXY_COMMAND", '["a", "b"]')
    monkeypatch.setenv("FLYTE_AUTH_TYPE", "ExternalCommand")
    monkeypatch.setenv("FLYTE_TASK_DOMAIN", "")
    for config in (auto(), auto(write(tmp_path / "c.yaml", "task: {project: from-file, domain: d}"))):
        assert config.task.project == "from-variable"
        assert config.platform.insecure and config.platform.scopes == ["a", "b", "c"]
        assert config.image.image_refs == {"x": "y:1", "z": "w:2"}
        assert config.platform.command == ["mint", "--for", "two words"]
        assert config.platform.proxy_command == ["a", "b"]
        assert config.platform.auth_mode == "ExternalCommand"
        assert str(config.origins["admin.command"]) == "environment FLYTE_AUTH_COMMAND"
    assert config.task.domain == "d"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("admin: {endpoint: 12}", "admin.endpoint in .*c.yaml must be a text, but it is another int"),
        ("admin: {insecure: 'yes please'}", "admin.insecure in .* must be true or false"),
        ("admin: {command: mint}", "admin.command in .* must be a list of texts"),
        ("admin: {authType: hunter2}", "admin.authType in .* must be one of Pkce, ClientSecret"),
        ("admin: {rpcRetries: -1}", "admin.rpcRetries in .* whole number"),
        ("admin: hunter2", "admin in .* must be a section"),
        ("image: {image_refs: {a: 1}}", "image.image_refs in .* map"),
        ("- hunter2", "must hold sections"),
        ("admin:\n  a: hunter2\n b: [", "c.yaml, line 3: it is no YAML"),
        ("admin: {clientSecret: hunter2}", "does not belong in a configuration file"),
        ("admin: {clientSecretEnvVar: NOT_SET}", "NOT_SET, which is not set"),
        ("admin: {clientSecretLocation: /no/such}", "/no/such, which cannot be read"),
        ("!!python/object/apply:os.system [hunter2]", "it is no YAML"),
    ],
)
def test_a_wrong_file_is_refused_without_its_values(tmp_path, text, said):
    with pytest.raises(InitializationError, match=said) as caught:
        auto(write(tmp_path / "c.yaml", text))
    assert "hunter2" not in str(caught.value)
    assert caught.value.kind == "user"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FLYTE_ADMIN_INSECURE", "hunter2", "FLYTE_ADMIN_INSECURE must be true or false"),
        ("FLYTE_AUTH_COMMAND", "'hunter2", "FLYTE_AUTH_COMMAND must be words"),
        ("FLYTE_AUTH_COMMAND", "[hunter2", "FLYTE_AUTH_COMMAND must be words"),
        ("FLYTE_IMAGE_IMAGE_REFS", "hunter2", "must be NAME=URI"),
        ("FLYTE_AUTH_TYPE", "hunter2", "FLYTE_AUTH_TYPE must be one of"),
    ],
)
def test_a_wrong_variable_is_refused(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InitializationError, match=said) as caught:
        auto()
    assert "hunter2" not in str(caught.value)


def test_a_client_secret_means_client_credentials(tmp_path):
    secret = write(tmp_path / "secret", "s3cret\n")
    for before in ("", "authType: Pkce, "):
        config = auto(write(tmp_path / "c.yaml", f"admin: {{{before}clientSecretLocation: {secret}}}"))
        assert config.platform.client_credentials_secret == "s3cret"
        assert config.platform.auth_mode == "ClientSecret"


def test_a_missing_file_is_an_error_only_if_it_was_named(tmp_path):
    with pytest.raises(InitializationError, match=r"nope.yaml' does not exist"):
        auto(tmp_path / "nope.yaml")
    assert get_config_file(None) is None


def test_a_read_file_is_taken_as_it_is(tmp_path):
    file = ConfigFile(write(tmp_path / "c.yaml", "task: {project: p}"))
    assert get_config_file(file) is file and Config.auto(file).task.project == "p"


def test_unknown_keys_are_kept_aside(tmp_path):
    text = "admin: {endpont: x, clientId: c}\nlogger: {level: 3}\nstorage: [1]"
    config = auto(write(tmp_path / "c.yaml", text))
    assert config.unknown == ("admin.endpont",) and config.platform.client_id == "c"


@pytest.mark.parametrize("spelling", ["pkce", "PKCE", "Pkce"])
def test_ways_to_authenticate_are_known_in_every_spelling(spelling):
    assert read_auth_type(spelling) == "Pkce"
    assert read_auth_type("client-secret") == read_auth_type("ClientSecret") == "ClientSecret"
    with pytest.raises(ValueError, match="no way to authenticate"):
        read_auth_type("magic")


def test_every_setting_has_its_field():
    for setting in SETTINGS:
        if setting.section:
            assert hasattr(getattr(Config(), setting.section), setting.field)


CLI = "import sys; from flyte.cli._config import command; sys.exit(command().main(sys.argv[1:], standalone_mode=True))"


def test_the_command_says_where_values_come_from(tmp_path):
    write(Path("config.yaml"), "admin: {endpoint: host.example.com, endpont: 1}\ntask: {project: p}")
    env = {**os.environ, "FLYTE_TASK_DOMAIN": "dev", "FLYTE_ADMIN_CLIENTSECRET": "hunter2"}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", CLI, *args], capture_output=True, text=True, env=env, timeout=60)

    done = run("--explain")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert lines["admin.endpoint"].split()[1:] == ["host.example.com", "file", "config.yaml"]
    assert lines["task.domain"].split()[1:] == ["dev", "environment", "FLYTE_TASK_DOMAIN"]
    assert lines["admin.insecure"].split()[1:] == ["false", "default"]
    assert lines["admin.clientSecret"].split()[1] == "<set>"
    assert "admin.endpont is not known; did you mean 'admin.endpoint'?" in done.stderr
    plain = run()
    assert "admin.insecure" not in plain.stdout and "task.project:" in plain.stdout
    as_json = run("--output", "json", "--explain")
    assert '"task.domain": {"value": "dev", "from": "environment FLYTE_TASK_DOMAIN"}' in as_json.stdout
    assert "hunter2" not in done.stdout + plain.stdout + as_json.stdout


def test_importing_it_loads_neither_yaml_nor_pydantic():
    code = (
        "import sys, flyte.config; flyte.config.Config(); print([m for m in ('yaml', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
