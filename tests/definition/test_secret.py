"""Secrets: names and places, and never a value."""

import pickle
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from flyte import Secret
from flyte._definition.secret import secrets_from_request, value_here

MOUNT = Path("/etc/flyte/secrets")


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        ({"key": "my-key"}, "MY_KEY"),
        ({"key": "my-key", "group": "g-1"}, "G_1_MY_KEY"),
        ({"key": "my-key", "as_env_var": "OTHER"}, "OTHER"),
        ({"key": "my-key", "as_env_var": ""}, "MY_KEY"),
        ({"key": "a.b/c", "as_env_var": "ABC"}, "ABC"),
        ({"key": "my-key", "mount": MOUNT, "as_env_var": "A"}, "A"),
    ],
)
def test_variable(arguments, variable):
    """X9: the default variable is <GROUP>_<KEY> or <KEY>, upper-case, - as _."""
    assert Secret(**arguments).as_env_var == Secret(**arguments).env_var_name == variable


@pytest.mark.parametrize("mount", [MOUNT, str(MOUNT), PurePosixPath(MOUNT), "/etc/flyte/secrets/"])
def test_mount(mount):
    """X9: mounted as a file there is no variable unless it is named."""
    assert Secret("k", mount=mount).as_env_var is None
    assert Secret("k", mount=mount) == Secret("k", mount=MOUNT)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": ""}, ValueError, "key='' is empty"),
        ({"key": None}, TypeError, "key takes a text, got NoneType"),
        ({"key": 3}, TypeError, "key takes a text, got int"),
        ({"key": "k", "group": 3}, TypeError, "group takes a text, got int"),
        (
            {"key": "my key"},
            ValueError,
            "default variable 'MY KEY' is not an environment variable's name; give another",
        ),
        ({"key": "a.b"}, ValueError, "give another with as_env_var"),
        ({"key": "1a"}, ValueError, "give another with as_env_var"),
        ({"key": "k", "as_env_var": "lower"}, ValueError, "as_env_var='lower' is not"),
        ({"key": "k", "as_env_var": "lower"}, ValueError, "did you mean 'LOWER'?"),
        ({"key": "k", "as_env_var": "A-B"}, ValueError, "did you mean 'A_B'?"),
        ({"key": "k", "as_env_var": "9A"}, ValueError, "not a digit first"),
        ({"key": "k", "as_env_var": "A\n"}, ValueError, "is not an environment variable's name"),
        ({"key": "k", "mount": Path("/tmp")}, ValueError, "mount='/tmp' is not supported"),
        ({"key": "k", "mount": MOUNT / "x"}, ValueError, "secrets are mounted to '/etc/flyte/secrets' only"),
        ({"key": "k", "mount": 3}, TypeError, "mount takes a pathlib.Path, got 3"),
    ],
)
def test_refused(arguments, error, message):
    """X9: a bad variable name, or another folder, is refused."""
    with pytest.raises(error, match=re.escape(message)):
        Secret(**arguments)


def test_request():
    """X9: SecretRequest is a key, a Secret, or a list of either."""
    secret = Secret("b", group="g")
    assert secrets_from_request(None) == ()
    assert secrets_from_request("a") == (Secret("a"),)
    assert secrets_from_request(secret) == (secret,)
    assert secrets_from_request(["a", secret]) == (Secret("a"), secret)
    assert secrets_from_request(("a", secret)) == (Secret("a"), secret)
    for bad in (3, [3], {"a": "b"}):
        with pytest.raises(TypeError, match="secrets takes"):
            secrets_from_request(bad)


def test_a_value_put_by_mistake_is_not_shown():
    """B8: what is refused because it is no name is not repeated in the message."""
    with pytest.raises(TypeError) as caught:
        secrets_from_request([b"hunter2"])
    assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError) as caught:
        secrets_from_request({"password": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_value_semantics():
    """X9: equal and hashable by content; the same after pickling."""
    assert len({Secret("a"), Secret("a"), Secret("a", as_env_var="A"), Secret("a", group="g")}) == 2
    assert pickle.loads(pickle.dumps(Secret("a", mount=MOUNT))) == Secret("a", mount=MOUNT)
    assert repr(Secret("my-key")) == "Secret(key='my-key', group=None, mount=None, as_env_var='MY_KEY')"


def test_stable_hash_is_the_same_in_another_process():
    """X9: stable_hash() does not depend on this process's hash seed, and tells secrets apart."""
    program = "import flyte; print(flyte.Secret('my-key', group='g').stable_hash())"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {Secret("my-key", group="g").stable_hash()}
    assert Secret("my-key").stable_hash() != Secret("my-key", group="g").stable_hash()


@pytest.mark.parametrize("names", [("x", ".."), ("x", "../.."), ("../x", None), ("..", "group"), ("..", "..")])
def test_no_name_leads_out_of_the_folder_that_secrets_lie_in(tmp_path, monkeypatch, names):
    key, group = names
    home = tmp_path / "deep" / "home"
    (home / "secrets" / "group").mkdir(parents=True)
    for outside in (tmp_path / "x", tmp_path / "deep" / "x", home / "x"):
        outside.write_text("not a secret")
    monkeypatch.setenv("FLYTE_HOME", str(home))
    monkeypatch.setenv("FLYTE_SECRETS_DEFAULT_DIR", str(home / "secrets"))
    assert value_here(Secret(key=key, group=group, mount=MOUNT)) is None
