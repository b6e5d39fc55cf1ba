"""Pod templates, documentation and links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flyte
from flyte import Documentation, Link, PodTemplate
from flyte.extend import PRIMARY_CONTAINER_DEFAULT_NAME


def test_primary_container_name():
    """M2: PRIMARY_CONTAINER_DEFAULT_NAME is 'primary'."""
    assert PRIMARY_CONTAINER_DEFAULT_NAME == "primary" == PodTemplate().primary_container_name


def test_constructs_without_kubernetes():
    """X10, M4: no kubernetes package is needed, or loaded."""
    program = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "import flyte, flyte.extend\n"
        "t = flyte.PodTemplate(labels={'a': 'b'}, annotations={'c': 'd'})\n"
        "e = flyte.TaskEnvironment('e', pod_template=t)\n"
        "print(t.labels, t.annotations, t.pod_spec)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "{'a': 'b'} {'c': 'd'} None"


def test_sidecars_labels_annotations_are_carried():
    """X10: a real pod spec is carried as it is."""
    from kubernetes.client import V1Container, V1PodSpec

    spec = V1PodSpec(containers=[V1Container(name="primary"), V1Container(name="side", image="side:1")])
    template = PodTemplate(spec, "primary", {"a": "b"}, {"c": "d"})
    assert template.pod_spec is spec
    assert [c.name for c in template.pod_spec.containers] == ["primary", "side"]
    assert PodTemplate.from_spec(spec).primary_container_name == "primary"
    assert PodTemplate.from_spec(V1PodSpec(containers=[V1Container(name="own")])).primary_container_name == "own"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pod_spec": {"containers": []}}, TypeError, "pod_spec takes a kubernetes.client.V1PodSpec"),
        ({"primary_container_name": ""}, ValueError, "primary_container_name='' is empty"),
        ({"primary_container_name": 3}, TypeError, "primary_container_name takes a text, got 3"),
        ({"labels": ["a"]}, TypeError, "labels takes a dict of texts, got ['a']"),
        ({"labels": {"a": 1}}, TypeError, "labels['a'] takes a text, got 1; write '1'"),
        ({"annotations": {"a": None}}, TypeError, "annotations['a'] takes a text"),
    ],
)
def test_refused(arguments, error, message):
    """X10: wrong types are refused where they are written."""
    with pytest.raises(error, match=re.escape(message)):
        PodTemplate(**arguments)


def test_documentation():
    """X11: a description, which is a text."""
    assert Documentation("about") == Documentation(description="about")
    with pytest.raises(TypeError, match="description"):
        Documentation(3)


def test_link_is_a_protocol():
    """Section 14 (links): an object with a name and get_link() is a Link; another is not."""

    class Dashboard:
        name = "dashboard"
        icon_uri = ""

        def get_link(self, run_name, project, domain, context, parent_action_name, action_name, pod_name, **kwargs):
            return f"https://dashboard.example/{run_name}/{action_name}"

    assert isinstance(Dashboard(), Link)
    assert not isinstance(object(), Link)
    assert Link.icon_uri == ""
    assert flyte.Link.__module__ == "flyte"


def test_nothing_of_kubernetes_is_imported_at_the_top():
    """X10: kubernetes is named for annotations only in the room of definitions."""
    for path in (Path(__file__).parents[2] / "flyte/_definition").glob("*.py"):
        assert not re.search(r"^(import|from) kubernetes", path.read_text(), re.MULTILINE), path
