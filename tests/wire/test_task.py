"""Definitions as TaskSpecs: golden text, field by field, beside the published package's, by the protocol's rules."""

import asyncio
import importlib.util
import re
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import protovalidate
import pytest
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.task.task_definition_pb2 import TaskSpec, TaskTrigger
from flyteidl2.task.task_service_pb2 import DeployTaskRequest
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from kubernetes.client import V1Container, V1PodSpec

import flyte
from flyte._core.image_cache import ImageCache
from flyte._core.version import VERSION
from flyte._definition.discovery import discovery_version
from flyte._wire.identity import task_identifier
from flyte._wire.task import task_spec
from flyte._wire.trigger import task_trigger
from flyte.errors import DeploymentError, RuntimeSystemError
from flyte.extend import TaskTemplate
from flyte.models import CodeBundle, NativeInterface, SerializationContext

HERE = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("record_wire", HERE / "record.py")
assert _spec is not None and _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)
D: Any = record.definitions()
CONTEXT = D.CONTEXT


def spec_of(task, context=CONTEXT, **options):
    return task_spec(task, context, **options)


# Golden ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", D.DEFINITIONS)
def test_golden(name):
    task, context = D.DEFINITIONS[name]
    assert record.as_text(task_spec(task, context, deploy=True)) == (HERE / "golden" / f"{name}.txtpb").read_text()


@pytest.mark.parametrize("name", D.TRIGGERS)
def test_golden_trigger(name):
    message = asyncio.run(task_trigger(*D.TRIGGERS[name]))
    assert record.as_text(message) == (HERE / "golden" / f"trigger_{name}.txtpb").read_text()


def test_every_golden_file_has_its_definition():
    names = {*D.DEFINITIONS, *(f"trigger_{name}" for name in D.TRIGGERS)}
    assert {path.stem for path in (HERE / "golden").glob("*.txtpb")} == names
    assert len(D.DEFINITIONS) >= 15


def test_what_golden_files_leave_out():
    for task, context in D.DEFINITIONS.values():
        metadata = task_spec(task, context).task_template.metadata
        assert metadata.runtime.version == VERSION
        assert metadata.discovery_version == discovery_version(task, context.code_bundle)


# The published package ------------------------------------------------------------------------------------------------

NOT_SERIALIZED = {
    "configured": "a template that is not made of a function: theirs refuses it",
    "raw": "a template that is not made of a function: theirs refuses it",
    "query": "theirs crashes on sql()",
}
# Definition, path in the spec, and why ours says something else there.
DIFFERENCES = [
    ("blocking", r".*inputs\.variables\[\d\]\.value\.description", "what the docstring says of a parameter is sent"),
    (
        "blocking|templated",
        r"documentation\..*",
        "ours is written as for a deployment, where documentation is part of it",
    ),
    ("forecast", r"environment\.description", "likewise the environment's description"),
    (
        "reused|podded_and_reused",
        r"task_template\.custom\.version",
        "the hash of our own recipe; only equality matters",
    ),
    ("file_and_variable", r".*secrets\[0\]\.mount_requirement", "a mount that was asked for is not dropped"),
    ("linked", r"task_template\.metadata\.log_links.*", "links are sent, with the control plane's variables in them"),
    ("pod.*", r"task_template\.k8s_pod\.primary_container_name", "said in its field as well as in config"),
    ("pod_of_its_own", r".*containers\[0\]\.env", "no variables: no empty list"),
    (
        "podded",
        r".*resources\.(requests|limits)\.(gpu|nvidia\.com/gpu)",
        "a device is asked for under the name that Kubernetes has for it, with the same limit",
    ),
]


def leaves(message):
    """Path -> value of everything that is set; a Struct as the plain value that it stands for."""
    found = {}

    def visit(path, value):
        if hasattr(value, "ListFields"):
            if value.DESCRIPTOR.full_name == "google.protobuf.Struct":
                value = MessageToDict(value)
            else:
                value = {field.name: part for field, part in value.ListFields()} or "<set>"
        if hasattr(value, "items"):
            for key in value:
                visit(f"{path}.{key}" if path else key, value[key])
        elif isinstance(value, (str, bytes, int, float)) or value is None:
            found[path] = value
        else:
            parts = list(value)
            if not parts:
                found[path] = "<empty>"
            for index, part in enumerate(parts):
                visit(f"{path}[{index}]", part)

    visit("", message)
    return found


def differing_paths(name):
    theirs, ours = TaskSpec(), TaskSpec()
    text_format.Parse((HERE / "peer" / f"{name}.txtpb").read_text(), theirs)
    text_format.Parse((HERE / "golden" / f"{name}.txtpb").read_text(), ours)
    left, right = leaves(theirs), leaves(ours)
    return {path for path in {**left, **right} if left.get(path) != right.get(path)}


@pytest.mark.parametrize("name", [name for name in D.DEFINITIONS if name not in NOT_SERIALIZED])
def test_beside_the_published_package(name):
    allowed = [pattern for names, pattern, _ in DIFFERENCES if re.fullmatch(names, name)]
    unexplained = [p for p in differing_paths(name) if not any(re.fullmatch(a, p) for a in allowed)]
    assert not unexplained


def test_each_difference_is_one():
    paths = {name: differing_paths(name) for name in D.DEFINITIONS if name not in NOT_SERIALIZED}
    for names, pattern, reason in DIFFERENCES:
        met = [p for n in paths if re.fullmatch(names, n) for p in paths[n] if re.fullmatch(pattern, p)]
        assert met, f"nothing differs any more: {reason}"
    assert {path.stem for path in (HERE / "peer").glob("*.txtpb")} == set(paths)


# The protocol's own rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", D.DEFINITIONS)
def test_passes_the_rules(name):
    task, context = D.DEFINITIONS[name]
    context = context if context.org else CONTEXT
    triggers = [asyncio.run(task_trigger(task, trigger)) for trigger in task.triggers]
    request = DeployTaskRequest(
        task_id=task_identifier(task.name, context), spec=task_spec(task, context, deploy=True), triggers=triggers
    )
    protovalidate.validate(request)
    assert DeployTaskRequest.FromString(request.SerializeToString()) == request


@pytest.mark.parametrize("name", D.TRIGGERS)
def test_triggers_pass_the_rules(name):
    message = asyncio.run(task_trigger(*D.TRIGGERS[name]))
    assert TaskTrigger.FromString(message.SerializeToString()) == message
    # One rule of InlineRule names an enum that protovalidate 2.1.0 cannot look up ("No value with name flyteidl2"), so
    # its parts are checked one by one. The rule is of the phase PAUSED, which no notification takes.
    for rule in message.spec.run_spec.notification_rules.rules:
        assert rule.on_phases and ActionPhase.ACTION_PHASE_PAUSED not in rule.on_phases
        assert set(rule.on_phases) <= {5, 6, 7, 8} and len(set(rule.on_phases)) == len(rule.on_phases)
        protovalidate.validate(rule.delivery_template) if rule.HasField("delivery_template") else None
        assert rule.WhichOneof("delivery")
    message.spec.run_spec.ClearField("notification_rules")
    protovalidate.validate(message)


def test_the_rules_are_applied():
    spec = spec_of(D.plain)
    spec.short_name = "n" * 64
    with pytest.raises(protovalidate.ValidationError, match="63"):
        protovalidate.validate(spec)


# Field by field -------------------------------------------------------------------------------------------------------


def metadata(task):
    return spec_of(task).task_template.metadata


FIELDS = [
    ({"interruptible": True}, lambda s: s.task_template.metadata.interruptible, True),
    ({"interruptible": False}, lambda s: s.task_template.metadata.HasField("interruptible"), True),
    ({"report": True}, lambda s: s.task_template.metadata.generates_deck.value, True),
    ({"debuggable": False}, lambda s: s.task_template.metadata.debuggable, False),
    ({"entrypoint": True}, lambda s: s.task_template.metadata.is_entrypoint, True),
    ({"produces_artifacts": True}, lambda s: s.task_template.metadata.produces_artifacts, True),
    ({"task_type": "other"}, lambda s: s.task_template.type, "other"),
    ({"task_type_version": 7}, lambda s: s.task_template.task_type_version, 7),
    ({"short_name": "shown"}, lambda s: s.short_name, "shown"),
    ({"short_name": "n" * 64}, lambda s: s.short_name, "n" * 63),
    ({"retries": 4}, lambda s: s.task_template.metadata.retries.retries, 4),
    ({"timeout": timedelta(milliseconds=1500)}, lambda s: s.task_template.metadata.timeout.nanos, 500_000_000),
    ({"timeout": 0}, lambda s: s.task_template.metadata.HasField("timeout"), False),
    ({"pod_template": "gpu"}, lambda s: s.task_template.metadata.pod_template_name, "gpu"),
    ({"cache": "disable"}, lambda s: s.task_template.metadata.discoverable, False),
    (
        {"cache": flyte.Cache("override", version_override="2")},
        lambda s: (s.task_template.metadata.discoverable, s.task_template.metadata.discovery_version),
        (True, "2"),
    ),
    ({"env_vars": {"A": "1"}}, lambda s: [(e.key, e.value) for e in s.task_template.container.env], [("A", "1")]),
    (
        {"service_account": "runner"},
        lambda s: s.task_template.security_context.run_as.k8s_service_account,
        "runner",
    ),
    ({"resources": None}, lambda s: s.task_template.container.HasField("resources"), False),
]


@pytest.mark.parametrize(("change", "read", "expected"), FIELDS, ids=lambda value: str(value)[:40])
def test_field(change, read, expected):
    assert read(spec_of(D.plain.override(**change))) == expected


def test_context_fields():
    identity = spec_of(D.plain).task_template.id
    assert (identity.org, identity.project, identity.domain) == ("acme", "shop", "development")
    assert (identity.name, identity.version) == ("orders.plain", "v7")
    assert metadata(D.plain).code_bundle_uri == "s3://bucket/fast1.tar.gz"
    assert task_spec(D.plain, D.PICKLED).task_template.metadata.code_bundle_uri == ""


def test_only_a_deployment_says_defaults_and_documentation():
    here, there = spec_of(D.blocking), spec_of(D.blocking, deploy=True)
    assert not here.default_inputs and not here.HasField("documentation")
    assert [one.name for one in there.default_inputs] == ["count", "ratio"]
    assert there.documentation.short_description == "Say a name."
    assert spec_of(D.forecast).environment.description == ""


def test_documentation_is_cut():
    task = TaskTemplate(
        name="t",
        interface=NativeInterface({}, {}),
        image=D.IMAGE,
        cache="disable",
        docs=flyte.Documentation("s" * 300 + "\n" + "l" * 3000),
    )
    documentation = spec_of(task, deploy=True, source_link="https://example.com/x").documentation
    assert len(documentation.short_description) == 255 and len(documentation.long_description) == 2048
    assert documentation.source_code.link == "https://example.com/x"


def test_further_variables():
    """What a bundle adds does not hide the task's own."""
    spec = spec_of(D.forecast, env_vars={"_F_SYS_PATH": "./src", "MODE": "slow"})
    assert {e.key: e.value for e in spec.task_template.container.env} == {
        "_F_SYS_PATH": "./src",
        "MODE": "fast",
        "EMPTY": "",
    }


def test_image_cache():
    run = {"org": "acme", "project": "system", "domain": "production", "name": "r1"}
    cache = ImageCache({"orders": "example.com/built:2"}, {"orders": run})
    context = SerializationContext(version="v", root_dir=HERE, image_cache=cache)
    template = task_spec(D.plain, context).task_template
    assert template.container.image == "example.com/built:2"
    assert template.metadata.image_build_run.name == "r1"
    args = list(template.container.args)
    assert ImageCache.from_transport(args[args.index("--image-cache") + 1]) == cache


def test_workers_are_shared_by_what_is_the_same():
    def version(task, context=CONTEXT):
        return task_spec(task, context).task_template.custom["version"]

    other_args = SerializationContext(**{**vars(CONTEXT), "version": "v8"})
    assert version(D.reused) == version(D.reused, other_args) == version(D.reused.override(short_name="s"))
    policy = flyte.ReusePolicy(replicas=(1, 5))
    assert version(D.reused) != version(D.reused.override(reusable=policy))
    assert version(D.reused) != version(
        D.reused.override(reusable=D.reused.reusable, secrets="k", resources=D.reused.resources)
    )
    bundle = CodeBundle(computed_version="other", tgz="s3://bucket/fast1.tar.gz")
    assert version(D.reused) != version(D.reused, SerializationContext(**{**vars(CONTEXT), "code_bundle": bundle}))


def test_the_pod_of_the_user_is_not_changed():
    before = D.POD.to_dict()
    spec_of(D.podded)
    assert D.POD.to_dict() == before


# What cannot be said --------------------------------------------------------------------------------------------------


def bare(cls=TaskTemplate, **fields):
    return cls(**{"name": "t", "interface": NativeInterface({}, {}), "image": D.IMAGE, "cache": "disable", **fields})


class Wrong(TaskTemplate):
    hook: Any = None

    def config(self, sctx):
        return {"n": 1} if self.report else {}

    def custom_config(self, sctx):
        return {"n": object()} if self.interruptible else {}

    def sql(self, sctx):
        return 5 if self.entrypoint else None


def unsaid(**changes):
    return SerializationContext(**{**vars(CONTEXT), **changes})


NO_IMAGE = V1PodSpec(containers=[V1Container(name="primary")])
ENDLESS = flyte.RetryStrategy(1, flyte.Backoff(timedelta.max))
REFUSED = [
    (lambda: spec_of(D.plain, unsaid(version="v" * 64)), "version"),
    (lambda: spec_of(D.plain, unsaid(version="")), "version is empty"),
    (lambda: spec_of(D.plain, unsaid(project="p" * 64)), "project"),
    (lambda: spec_of(bare(name="n" * 256)), "its name"),
    (lambda: spec_of(bare(cache="auto")), "version_override"),
    (lambda: spec_of(bare(image=None)), "has no image"),
    (lambda: spec_of(bare(Wrong, report=True)), r"config\(\).*'1'"),
    (lambda: spec_of(bare(Wrong, interruptible=True)), r"custom_config\(\)"),
    (lambda: spec_of(bare(Wrong, entrypoint=True)), r"sql\(\)"),
    (lambda: spec_of(D.cached.override(cache=flyte.Cache("auto", "1", ignored_inputs="nota"))), "did you mean 'note'"),
    (
        lambda: spec_of(D.plain.override(pod_template=flyte.PodTemplate(D.POD, "absent"))),
        "no container .*'absent'.*'main'",
    ),
    (
        lambda: spec_of(bare(image=None, pod_template=flyte.PodTemplate(NO_IMAGE))),
        "has an image",
    ),
    (lambda: task_identifier("t", SerializationContext(version="1", project="p", domain="d")), "org is empty"),
    (lambda: spec_of(bare(timeout=timedelta.max)), "timeout of .* beyond 10,000 years"),
    (lambda: spec_of(bare(retries=ENDLESS)), "backoff of .* beyond 10,000 years"),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "says"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_said_is_refused(attempt, says):
    with pytest.raises(DeploymentError, match=says):
        attempt()


def test_a_default_that_does_not_fit():
    task = bare(interface=NativeInterface({"x": (int, "one")}, {}))
    with pytest.raises(DeploymentError, match="parameter 'x'"):
        spec_of(task, deploy=True)


def test_no_root_dir():
    """A12."""
    with pytest.raises(RuntimeSystemError, match="root_dir"):
        spec_of(D.plain, SerializationContext(version="v"))


def test_outside_the_root_dir(tmp_path):
    with pytest.raises(DeploymentError, match="not under root_dir"):
        spec_of(D.plain, SerializationContext(version="v", root_dir=tmp_path))


def test_a_task_inside_a_function():
    @D.env.task
    async def inner() -> None:
        pass

    with pytest.raises(DeploymentError, match="top level"):
        spec_of(inner)


def test_module_relative_to_root():
    args = list(spec_of(D.plain, unsaid(root_dir=HERE.parents[1])).task_template.container.args)
    assert args[-4:] == ["mod", "tests.wire.definitions", "instance", "plain"]


def test_one_function_in_two_environments():
    """Each is found by the variable that holds it, which is not always the function's name."""
    assert list(spec_of(D.shared).task_template.container.args)[-1] == "shared"
    assert list(spec_of(D.plain.override(retries=1)).task_template.container.args)[-1] == "plain"


def test_a_resolver_of_the_users():
    class Resolver:
        import_path = "my.Resolver"

        def loader_args(self, task, root_dir):
            return ["name", task.name]

    task = D.plain.override(task_resolver=Resolver())
    args = list(spec_of(task, unsaid(root_dir=None)).task_template.container.args)
    assert args[-4:] == ["--resolver", "my.Resolver", "name", "orders.plain"]
    with pytest.raises(TypeError, match="import_path"):
        spec_of(D.plain.override(task_resolver="my.Resolver"))


def test_reusable_with_custom_config():
    task = D.clustered.override(reusable=flyte.ReusePolicy())
    assert spec_of(task).task_template.type == "cluster"
    task = task.override(reusable=flyte.ReusePolicy())
    task.task_type = "python"
    with pytest.raises(DeploymentError, match="custom_config"):
        spec_of(task)


TRIGGER_ERRORS = [
    (D.plain, flyte.Trigger("t"), ValueError, "required argument"),
    (D.plain, flyte.Trigger("t", inputs={"y": 1}), TypeError, "no parameter 'y'"),
    (D.plain, flyte.Trigger("t", inputs={"x": "a"}), TypeError, "parameter 'x'"),
    (D.plain, flyte.Trigger.hourly("when"), TypeError, "no parameter 'when'"),
    (D.plain, flyte.Trigger("t" * 256, inputs={"x": 1}), DeploymentError, "256 characters"),
    (
        D.nothing,
        flyte.Trigger(
            "t",
            notifications=flyte.notify.Webhook(
                on_phase=flyte.models.ActionPhase.FAILED, url="https://example.com", headers={"Authorization": "s" * 51}
            ),
        ),
        DeploymentError,
        "header 'Authorization'",
    ),
]


@pytest.mark.parametrize(("task", "trigger", "error", "says"), TRIGGER_ERRORS, ids=range(len(TRIGGER_ERRORS)))
def test_triggers_that_cannot_be_said(task, trigger, error, says):
    with pytest.raises(error, match=says) as caught:
        asyncio.run(task_trigger(task, trigger))
    assert "sss" not in str(caught.value)


def test_secret_values_are_never_there(monkeypatch):
    monkeypatch.setenv("API_KEY", "hunter2")
    assert b"hunter2" not in spec_of(D.forecast, deploy=True).SerializeToString()


def test_file_secret():
    secret = flyte.Secret("k", group="g", mount=PurePosixPath("/etc/flyte/secrets"))
    sent = spec_of(D.plain.override(secrets=secret)).task_template.security_context.secrets[0]
    assert (sent.group, sent.key, sent.env_var) == ("g", "k", "")
    assert sent.mount_requirement == type(sent).MountType.FILE


def test_target_is_one():
    assert spec_of(D.DEFINITIONS["query"][0]).task_template.WhichOneof("target") == "sql"
    assert spec_of(D.podded).task_template.WhichOneof("target") == "k8s_pod"
