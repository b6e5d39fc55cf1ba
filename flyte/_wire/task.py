"""A task's definition as the TaskSpec of a control plane (wire-protocol sections 4.4 and 4.5).

Used by what runs, deploys or calls a task elsewhere. Nothing here reaches a control plane or builds anything: images
are named, code bundles are pointed to. What cannot be said in a TaskSpec raises an error that names the field.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flyteidl2.common.identifier_pb2 import RunIdentifier
from flyteidl2.core import execution_pb2, literals_pb2, security_pb2, tasks_pb2
from flyteidl2.core.identifier_pb2 import TASK
from flyteidl2.core.identifier_pb2 import Identifier as CoreIdentifier
from flyteidl2.core.interface_pb2 import Parameter, TypedInterface, Variable
from flyteidl2.task.common_pb2 import NamedParameter
from flyteidl2.task.environment_pb2 import Environment
from flyteidl2.task.task_definition_pb2 import DocumentationEntity, SourceCode, TaskSpec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue

from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.image_cache import ImageCache, image_cache_from
from flyte._core.interface import Docstring, Empty
from flyte._core.version import VERSION
from flyte._definition.backoff import Backoff
from flyte._definition.cache import Cache
from flyte._definition.discovery import discovery_version
from flyte._definition.image import Image
from flyte._definition.pod import PodTemplate
from flyte._definition.retry import RetryStrategy
from flyte._definition.secret import Secret, secrets_from_request
from flyte._definition.task import TaskTemplate
from flyte._definition.timeout import timeout_from_request
from flyte.errors import DeploymentError, TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._interface import typed_interface

from .identity import check_length
from .pod import k8s_pod
from .resources import get_proto_extended_resources, get_proto_resources
from .reuse import actor_custom, reuse_policy

AnyTask = TaskTemplate[Any, Any, Any]

# Limits of the protocol's own rules (buf.validate, flyteidl2.task).
MAX_SHORT_NAME = 63
MAX_SHORT_DESCRIPTION = 255
MAX_LONG_DESCRIPTION = 2048

# A dialect must be said; the definition does not know it.
_DIALECT = tasks_pb2.Sql.Dialect.ANSI


def task_spec(
    task: AnyTask,
    sctx: SerializationContext,
    *,
    deploy: bool = False,
    env_vars: Mapping[str, str] | None = None,
    source_link: str | None = None,
) -> TaskSpec:
    """A task as a control plane knows it.

    :param task: the task.
    :param sctx: its version, where it belongs, and the code it runs from.
    :param deploy: whether it is kept under its name for others, who need defaults and documentation as well.
    :param env_vars: further variables of its container; the task's own win.
    :param source_link: where its source can be read, if it is deployed.
    :raises flyte.errors.DeploymentError: a field that the protocol has no place for; the message says what to do.
    :raises TypeError: a parameter or result that cannot travel.
    """
    deployed: TaskSpec | None = getattr(task, "deployed_spec", None)
    if deployed is not None:  # it is known under its own name and version already
        return deployed
    template = task_template(task, sctx, env_vars=env_vars)
    spec = TaskSpec(task_template=template, short_name=task.short_name[:MAX_SHORT_NAME])
    name = task.parent_env_name
    if name:
        check_length(task.name, "the environment's name", name, 63)
        spec.environment.CopyFrom(Environment(name=name, description=_description(task) if deploy else ""))
    if deploy:
        spec.default_inputs.extend(default_inputs(task))
        documentation = documentation_of(task, source_link)
        if documentation is not None:
            spec.documentation.CopyFrom(documentation)
    return spec


def _description(task: AnyTask) -> str:
    environment = task.parent_env() if task.parent_env is not None else None
    return (environment.description or "")[:MAX_SHORT_DESCRIPTION] if environment is not None else ""


def task_template(
    task: AnyTask, sctx: SerializationContext, *, env_vars: Mapping[str, str] | None = None
) -> tasks_pb2.TaskTemplate:
    """The part of a TaskSpec that an executor acts on; parameters and errors as for :func:`task_spec`."""
    check_length(task.name, "its name", task.name, 255)
    check_length(task.name, "version", sctx.version, 63)
    for field in ("org", "project", "domain"):
        value = getattr(sctx, field)
        if value is not None:
            check_length(task.name, field, value, 63)
    images = image_cache_from(sctx.image_cache)
    interface = _interface(task)
    template = tasks_pb2.TaskTemplate(
        id=CoreIdentifier(
            resource_type=TASK,
            org=sctx.org or "",
            project=sctx.project or "",
            domain=sctx.domain or "",
            name=task.name,
            version=sctx.version,
        ),
        type=task.task_type,
        task_type_version=task.task_type_version,
        metadata=_metadata(task, sctx, images),
        interface=interface,
        config=_texts(task, "config()", task.config(sctx)),
    )
    custom = task.custom_config(sctx)
    if custom:
        template.custom.CopyFrom(_struct(task, "custom_config()", custom))
    _put_target(template, task, sctx, images, env_vars)
    security = security_context(task)
    if security is not None:
        template.security_context.CopyFrom(security)
    extended = get_proto_extended_resources(task.resources)
    if extended is not None:
        template.extended_resources.CopyFrom(extended)
    if task.reusable is not None:
        _make_reusable(template, task, sctx)
    return template


def _interface(task: AnyTask) -> TypedInterface:
    try:
        return typed_interface(task.interface)
    except TypeError as error:
        raise TypeError(f"task {task.name!r}: {error}") from error


# Metadata ---------------------------------------------------------------------------------------------------------


def _metadata(task: AnyTask, sctx: SerializationContext, images: ImageCache | None) -> tasks_pb2.TaskMetadata:
    cache, retries, timeout = _cache(task), task.retries, timeout_from_request(task.timeout)
    assert isinstance(retries, RetryStrategy)  # normalised by the template
    bundle = sctx.code_bundle
    metadata = tasks_pb2.TaskMetadata(
        discoverable=cache.is_enabled(),
        runtime=tasks_pb2.RuntimeMetadata(
            type=tasks_pb2.RuntimeMetadata.RuntimeType.FLYTE_SDK, version=VERSION, flavor="python"
        ),
        retries=_retries(task, retries),
        discovery_version=_version(task, cache, bundle),
        interruptible=bool(task.interruptible),
        cache_serializable=cache.serialize,
        cache_ignore_input_vars=_ignored(task, cache),
        generates_deck=BoolValue(value=task.report),
        debuggable=task.debuggable,
        is_entrypoint=task.entrypoint,
        produces_artifacts=task.produces_artifacts,
    )
    if isinstance(task.pod_template, str):
        metadata.pod_template_name = task.pod_template
    if cache.is_enabled() and isinstance(cache.max_age, timedelta):
        metadata.cache_max_age.CopyFrom(duration(task, "cache max_age", cache.max_age.total_seconds()))
    if bundle is not None and bundle.tgz is not None:
        metadata.code_bundle_uri = bundle.tgz
    if timeout is not None:
        if timeout.max_runtime_s is not None:
            metadata.timeout.CopyFrom(duration(task, "timeout", timeout.max_runtime_s))
        if timeout.max_queued_time_s is not None:
            metadata.timeouts.queued_timeout.CopyFrom(duration(task, "max_queued_time", timeout.max_queued_time_s))
        if timeout.deadline_s is not None:
            metadata.timeouts.deadline.CopyFrom(duration(task, "deadline", timeout.deadline_s))
    if task.links:
        metadata.log_links.extend(_links(task, sctx))
    built_by = images.build_run_ids.get(task.parent_env_name or "") if images is not None else None
    if built_by is not None:
        metadata.image_build_run.CopyFrom(RunIdentifier(**built_by))
    return metadata


def _cache(task: AnyTask) -> Cache:
    assert isinstance(task.cache, Cache)  # normalised by the template
    return task.cache


def _ignored(task: AnyTask, cache: Cache) -> tuple[str, ...]:
    if not cache.is_enabled():
        return ()
    ignored = cache.get_ignored_inputs()
    for name in ignored:
        if name not in task.interface.inputs:
            raise DeploymentError(
                f"task {task.name!r}: cache has ignored_inputs={name!r}, which is no parameter"
                f"{task.interface.nearest(name)}"
            )
    return ignored


def _retries(task: AnyTask, retries: RetryStrategy) -> literals_pb2.RetryStrategy:
    message = literals_pb2.RetryStrategy(retries=retries.count)
    backoff = retries.backoff
    if isinstance(backoff, Backoff):
        message.backoff.base.CopyFrom(duration(task, "the base of its backoff", backoff.base.total_seconds()))
        message.backoff.factor = backoff.factor
        if backoff.cap is not None:
            # The protocol's longest duration is 10,000 years; Python's is longer.
            message.backoff.cap.FromTimedelta(min(backoff.cap, timedelta(days=3_650_000)))
    return message


def duration(task: AnyTask, field: str, seconds: float) -> Duration:
    """A span of time.

    :raises flyte.errors.DeploymentError: longer than the protocol's 10,000 years.
    """
    if not 0 <= seconds <= 315_576_000_000:  # google.protobuf.Duration
        raise DeploymentError(f"task {task.name!r}: {field} of {seconds} seconds is beyond 10,000 years; leave it out")
    microseconds = round(seconds * 1_000_000)
    return Duration(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def _version(task: AnyTask, cache: Cache, bundle: CodeBundle | None) -> str:
    version = discovery_version(task, bundle)
    if not version and cache.is_enabled():
        # Without a version, results would be taken for those of any later code.
        raise DeploymentError(
            f"task {task.name!r}: cache is on, but there is no function whose source could be its version; give one "
            "with flyte.Cache('auto', version_override='1'), or cache='disable'"
        )
    return version


def _links(task: AnyTask, sctx: SerializationContext) -> list[execution_pb2.TaskLog]:
    # The names are not known yet: the control plane fills in its template variables.
    return [
        execution_pb2.TaskLog(
            name=link.name,
            icon_uri=getattr(link, "icon_uri", "") or "",
            uri=link.get_link(
                run_name="{{.runName}}",
                project=sctx.project or "{{.project}}",
                domain=sctx.domain or "{{.domain}}",
                context={},
                parent_action_name="{{.parentActionName}}",
                action_name="{{.actionName}}",
                pod_name="{{.podName}}",
            ),
        )
        for link in task.links
    ]


# Container, pod or statement ----------------------------------------------------------------------------------------


def _put_target(
    template: tasks_pb2.TaskTemplate,
    task: AnyTask,
    sctx: SerializationContext,
    images: ImageCache | None,
    env_vars: Mapping[str, str] | None,
) -> None:
    statement = task.sql(sctx)
    if statement is not None:
        if not isinstance(statement, str):
            raise DeploymentError(f"task {task.name!r}: sql() gives a {type(statement).__name__}; give a text or None")
        template.sql.CopyFrom(tasks_pb2.Sql(statement=statement, dialect=_DIALECT))
        return
    container = tasks_pb2.Container(
        image=_image_uri(task, images),
        args=task.container_args(sctx),
        env=[
            literals_pb2.KeyValuePair(key=k, value=v) for k, v in {**(env_vars or {}), **(task.env_vars or {})}.items()
        ],
        resources=get_proto_resources(task.resources),
        data_config=_data_config(task, sctx),
    )
    if isinstance(task.pod_template, PodTemplate):
        template.k8s_pod.CopyFrom(k8s_pod(task.name, task.pod_template, container, task.resources))
        template.config["primary_container_name"] = task.pod_template.primary_container_name
        return
    if not container.image:
        raise DeploymentError(f"task {task.name!r} has no image; give its environment one, or a pod template with one")
    template.container.CopyFrom(container)


def _image_uri(task: AnyTask, images: ImageCache | None) -> str:
    known = images.image_lookup.get(task.parent_env_name or "") if images is not None else None
    if known:
        return known
    return task.image.uri if isinstance(task.image, Image) else ""


def _data_config(task: AnyTask, sctx: SerializationContext) -> tasks_pb2.DataLoadingConfig | None:
    config = task.data_loading_config(sctx)
    if config is not None and not isinstance(config, tasks_pb2.DataLoadingConfig):
        raise DeploymentError(
            f"task {task.name!r}: data_loading_config() gives a {type(config).__name__}; give a "
            "flyteidl2.core.tasks_pb2.DataLoadingConfig or None"
        )
    return config


# Who it runs as, and how it is kept ---------------------------------------------------------------------------------


def security_context(task: AnyTask) -> security_pb2.SecurityContext | None:
    """The account that a task runs as, and the secrets that it asks for; None if it asks for neither."""
    secrets = secrets_from_request(task.secrets)
    if not secrets and not task.service_account:
        return None
    security = security_pb2.SecurityContext(secrets=[_secret(secret) for secret in secrets])
    if task.service_account:
        security.run_as.k8s_service_account = task.service_account
    return security


def _secret(secret: Secret) -> security_pb2.Secret:
    mount = security_pb2.Secret.MountType
    return security_pb2.Secret(
        group=secret.group or "",
        key=secret.key,
        mount_requirement=mount.ENV_VAR if secret.mount is None else mount.FILE,
        env_var=secret.as_env_var or "",
    )


def _make_reusable(template: tasks_pb2.TaskTemplate, task: AnyTask, sctx: SerializationContext) -> None:
    assert task.reusable is not None
    template.reuse_policy.CopyFrom(reuse_policy(task.reusable))
    if task.task_type != "python":
        return  # a plugin keeps workers its own way
    if template.HasField("custom"):
        raise DeploymentError(
            f"task {task.name!r} is reusable and has a custom_config(), but the wire has one place for both; leave one "
            "of them out, for instance with override(reusable='off')"
        )
    template.type = "actor"
    template.metadata.debuggable = False  # a debugger would hold a worker that other calls share
    template.custom.CopyFrom(actor_custom(task.parent_env_name or task.name, task.reusable, template, sctx.code_bundle))


# What others need to call it ----------------------------------------------------------------------------------------


def default_inputs(task: AnyTask) -> list[NamedParameter]:
    """The parameters that have a default, with it, in order.

    :raises flyte.errors.DeploymentError: a default does not fit its annotation, or only a registered type that
        converts while others run could carry it.
    """
    types = {entry.key: entry.value.type for entry in _interface(task).inputs.variables}
    found = []
    for name, (annotation, default) in task.interface.inputs.items():
        if default is Empty:
            continue
        codec = codec_for(annotation)
        try:
            literal = codec.encode(default)
        except TypeTransformerFailedError as error:
            why = f"does not fit its annotation: {error}"
            if codec.awaits:
                why = (
                    f"has to be converted by a registered type, which cannot be done here ({error}); make it None and "
                    "create the value in the body"
                )
            raise DeploymentError(f"task {task.name!r}: the default of parameter {name!r} {why}") from error
        found.append(NamedParameter(name=name, parameter=Parameter(var=Variable(type=types[name]), default=literal)))
    return found


def documentation_of(task: AnyTask, source_link: str | None = None) -> DocumentationEntity | None:
    """What a reader is told of a task: its ``docs``, else its docstring; cut to what the protocol takes."""
    if task.docs is not None:
        text = task.docs.description.strip()
        short = text.partition("\n")[0]
        long = text if len(text) > len(short) or len(short) > MAX_SHORT_DESCRIPTION else ""
    else:
        docstring = task.interface.docstring or Docstring("")
        short, long = docstring.short_description or "", docstring.long_description or ""
    if not short and not long and not source_link:
        return None
    documentation = DocumentationEntity(
        short_description=short[:MAX_SHORT_DESCRIPTION], long_description=long[:MAX_LONG_DESCRIPTION]
    )
    if source_link:
        documentation.source_code.CopyFrom(SourceCode(link=source_link))
    return documentation


# What hooks of plugins give -----------------------------------------------------------------------------------------


def _texts(task: AnyTask, hook: str, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise DeploymentError(f"task {task.name!r}: {hook} gives a {type(given).__name__}; give a dict of texts")
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DeploymentError(
                f"task {task.name!r}: {hook} gives {value!r} for {key!r}; give a text, such as {str(value)!r}"
            )
    return dict(given)


def _struct(task: AnyTask, hook: str, given: Any) -> Struct:
    struct = Struct()
    try:
        struct.update(given)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DeploymentError(
            f"task {task.name!r}: {hook} gives what has no JSON form ({error}); give a dict of texts, numbers, lists "
            "and dicts"
        ) from error
    return struct
