"""The container's command line: what is written can be read, and what executors do to it is understood."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import (
    DEFAULT_RESOLVER,
    Command,
    container_args,
    parse_container_args,
)
from flyte._core.image_cache import ImageCache, image_cache_from

ENVIRON = {"_U_RUN_BASE": "s3://b/run", "_U_ORG_NAME": "acme", "RUN_NAME": "r1", "ACTION_NAME": "a0"}
REQUIRED = ["a0", "--inputs", "i", "--outputs-path", "o", "--version", "v"]


def fill(args, values):
    """As an executor does: any case, any blanks, what is unknown stays."""

    def one(found):
        return values.get(found[1].lower(), found[0])

    return [re.sub(r"\{\{\s*\.(\w+)\s*\}\}", one, word) for word in args]


def test_rows():
    """A8-A11, rows 1-13 of wire-protocol 5.1."""
    cache = ImageCache({"env": "image:1"})
    bundle = CodeBundle(computed_version="1", tgz="s3://b/x.tgz", destination="/root")
    args = container_args(
        version="v1", image_cache=cache, code_bundle=bundle, loader_args=("mod", "m", "instance", "t")
    )
    assert args == [
        "a0",
        *("--inputs", "{{.input}}"),
        *("--outputs-path", "{{.outputPrefix}}"),
        *("--version", "v1"),
        *("--raw-data-path", "{{.rawOutputDataPrefix}}"),
        *("--checkpoint-path", "{{.checkpointOutputPrefix}}"),
        *("--prev-checkpoint", "{{.prevCheckpointPrefix}}"),
        *("--run-name", "{{.runName}}"),
        *("--name", "{{.actionName}}"),
        *("--run-start-time", "{{.runStartTime}}"),
        *("--image-cache", cache.to_transport()),
        *("--tgz", "s3://b/x.tgz"),
        *("--dest", "/root"),
        *("--resolver", DEFAULT_RESOLVER),
        *("mod", "m", "instance", "t"),
    ]


def test_a_pickled_task_has_no_resolver():
    args = container_args(version="v", code_bundle=CodeBundle(computed_version="1", pkl="s3://b/x"), loader_args=("a",))
    assert args[-4:] == ["--pkl", "s3://b/x", "--dest", "."] and "--resolver" not in args


def test_paths_of_the_context():
    """A9."""
    args = container_args(version="v", input_path="in", output_path="out")
    assert args[1:5] == ["--inputs", "in", "--outputs-path", "out"]


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda word: word not in ('""', "''") and "{{" not in word
)
lookups = st.dictionaries(words, words, max_size=3)
bundles = st.none() | st.builds(
    lambda kind, uri, dest: CodeBundle(computed_version="1", destination=dest, **{kind: uri}),
    st.sampled_from(["tgz", "pkl"]),
    words,
    words,
)


@given(words, bundles, lookups, words, st.lists(words, max_size=4), st.lists(words, min_size=8, max_size=8))
def test_what_is_written_is_read(version, bundle, lookup, resolver, loader_args, filled):
    names = ("input", "outputprefix", "rawoutputdataprefix", "checkpointoutputprefix", "prevcheckpointprefix",
             "runname", "actionname", "runstarttime")  # fmt: skip
    values = dict(zip(names, filled, strict=True))
    cache = ImageCache(lookup)
    args = container_args(
        version=version, image_cache=cache, code_bundle=bundle, resolver=resolver, loader_args=loader_args
    )
    command = parse_container_args(fill(args, values), ENVIRON)
    pickled = bundle is not None and bundle.pkl is not None
    assert command == Command(
        inputs=values["input"],
        outputs_path=values["outputprefix"],
        version=version,
        run_base_dir="s3://b/run",
        org="acme",
        run_name=values["runname"],
        name=values["actionname"],
        raw_data_path=values["rawoutputdataprefix"],
        checkpoint_path=values["checkpointoutputprefix"],
        prev_checkpoint=values["prevcheckpointprefix"],
        run_start_time=values["runstarttime"],
        image_cache=cache if lookup else None,
        tgz=bundle.tgz if bundle else None,
        pkl=bundle.pkl if bundle else None,
        dest=bundle.destination if bundle else ".",
        resolver=None if pickled else resolver,
        resolver_args=() if pickled else tuple(loader_args),
    )


def test_what_the_open_source_executor_leaves():
    """Names are never filled in, the first attempt has no checkpoint, and only a root action has a start time."""
    values = {"input": "i", "outputprefix": "o", "prevcheckpointprefix": '""', "rawoutputdataprefix": "r"}
    command = parse_container_args(fill(container_args(version="v", loader_args=("mod", "m")), values), ENVIRON)
    assert (command.run_name, command.name, command.run_start_time) == ("r1", "a0", None)
    assert command.prev_checkpoint is None and command.checkpoint_path is None and command.raw_data_path == "r"


def test_environment():
    environ = {
        **ENVIRON,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "shop",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "development",
        "_F_E_VS": "1",
    }
    command = parse_container_args(REQUIRED, environ)
    assert (command.project, command.domain, command.debug) == ("shop", "development", True)
    assert parse_container_args([*REQUIRED, "--project", "other", "--org=x"], environ).project == "other"
    assert not parse_container_args(REQUIRED, {**environ, "_F_E_VS": "0"}).debug
    assert parse_container_args([*REQUIRED, "--debug", "--interactive-mode"], ENVIRON).interactive_mode


def test_short_forms():
    argv = ["a0", "-i", "i", "-o", "o", "-v", "v", "-r", "r", "-c", "c", "-p", "p"]
    command = parse_container_args(argv, ENVIRON)
    assert (command.inputs, command.outputs_path, command.version) == ("i", "o", "v")
    assert (command.raw_data_path, command.checkpoint_path, command.prev_checkpoint) == ("r", "c", "p")


@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        (["a0"], ENVIRON, "--inputs is not given"),
        ([*REQUIRED, "--inputs", "{{.input}}"], ENVIRON, None),
        (["a0", "--inputs", "{{ .Input }}", *REQUIRED[3:]], ENVIRON, "--inputs is not given"),
        (REQUIRED, {**ENVIRON, "_U_ORG_NAME": ""}, "_U_ORG_NAME"),
        (REQUIRED, {key: value for key, value in ENVIRON.items() if key != "RUN_NAME"}, "RUN_NAME"),
        ([*REQUIRED, "--input", "x"], ENVIRON, "no option --input"),
        ([*REQUIRED, "--dest"], ENVIRON, "--dest has no value"),
        ([*REQUIRED, "--tgz", "a", "--pkl", "b"], ENVIRON, "both --tgz and --pkl"),
        ([*REQUIRED, "mod", "m"], ENVIRON, "--resolver is not given"),
        ([*REQUIRED, "--image-cache", "?"], ENVIRON, "--image-cache"),
    ],
)
def test_bad_arguments(argv, environ, says):
    if says is None:
        assert parse_container_args(argv, environ).inputs == "i"  # unfilled says nothing, so what was said stays
        return
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_container_args(argv, environ)


@given(lookups, st.dictionaries(words, st.dictionaries(words, words, max_size=2), max_size=2))
def test_image_cache_travels(lookup, runs):
    cache = ImageCache(lookup, runs)
    assert ImageCache.from_transport(cache.to_transport()) == cache
    assert ImageCache(dict(reversed(lookup.items())), runs).to_transport() == cache.to_transport()


def test_image_cache_of_a_context():
    assert image_cache_from(None) is None
    assert image_cache_from({"env": "i"}) == ImageCache({"env": "i"})

    class Published:
        image_lookup = {"env": "i"}

    assert image_cache_from(Published()) == ImageCache({"env": "i"})
    with pytest.raises(TypeError, match="image_cache"):
        image_cache_from(5)
