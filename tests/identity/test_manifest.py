"""Manifests: what is read, what is ignored, and one clear line for what is malformed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.identity.test_index import filled

from natlens.errors import IdentityError
from natlens.identity.manifest import read_manifest
from natlens.identity.objects import EndpointSlice, Node, Pod, Service

POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "n"}}


def kinds(text: str) -> list[type]:
    return [type(found) for found in read_manifest(text, "f.yaml")]


def test_reads_several_documents_and_ignores_other_kinds() -> None:
    text = """
# a comment first
---
kind: Pod
metadata: {name: a}
---
---
kind: Deployment
metadata: {name: a}
spec: {anything: [1, {goes: here}]}
---
kind: Node
metadata: {name: a}
"""
    assert kinds(text) == [Pod, Node]


def test_reads_json_and_json_lists() -> None:
    assert kinds(json.dumps(POD)) == [Pod]
    assert kinds(json.dumps({"kind": "List", "items": [POD, {**POD, "kind": "ConfigMap"}]})) == [Pod]


def test_reads_lists_as_the_api_gives_them() -> None:
    text = "kind: ServiceList\nmetadata: {resourceVersion: '1'}\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]"
    assert kinds(text) == [Service, Service]


@pytest.mark.parametrize("text", ["", "---", "# nothing", "kind: List\nitems: []", "kind: List", "kind: AccessList"])
def test_nothing_is_nothing(text: str) -> None:
    assert kinds(text) == []


def test_same_kind_of_another_api_is_another_thing() -> None:
    assert kinds("kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: a}\nspec: 3") == []


def test_absent_and_null_are_the_same() -> None:
    text = """
kind: EndpointSlice
metadata: {name: a, namespace: null, labels: null, ownerReferences: null, uid: null}
endpoints: null
ports: null
"""
    assert kinds(text) == [EndpointSlice]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: Pod\nmetadata: {name: p, namespace: n}\nstatus: {podIPs: [{ip: banana}]}",
            "f.yaml: document 1: Pod n/p: status.podIPs[0].ip: 'banana' is not an IP address; correct the field",
        ),
        (
            "---\nkind: Node\nmetadata: {name: n}\n---\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: x}]}",
            "f.yaml: document 2: Service s: spec.ports[0].port: expected int, got str; correct the field",
        ),
        (
            "kind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 70000}]}",
            "f.yaml: document 1: Service s: spec.ports[0].port: expected int <= 65535; correct the field",
        ),
        (
            "kind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 7, protocol: tcp}]}",
            "f.yaml: document 1: Service s: spec.ports[0].protocol: invalid enum value 'tcp'; correct the field",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nstatus: {podIP: 10}",
            "f.yaml: document 1: Pod p: status.podIP: expected an IP address in quotes; correct the field",
        ),
        (
            "kind: Pod\nmetadata: {namespace: n}",
            "f.yaml: document 1: Pod n: metadata: object missing required field name; correct the field",
        ),
        (
            "kind: Pod",
            "f.yaml: document 1: Pod (without a name): object missing required field metadata; correct the field",
        ),
        (
            "kind: List\nitems: [{kind: Pod, metadata: {name: p}}, {kind: Pod, metadata: {name: 3}}]",
            "f.yaml: document 1, item 2: Pod (without a name): metadata.name: expected str, got int; correct the field",
        ),
        (
            "kind: EndpointSlice\nmetadata: {name: e}\nendpoints: [{addresses: [10.0.0.1, x]}]",
            "f.yaml: document 1: EndpointSlice e: endpoints[0].addresses[1]: 'x' is not an IP address; "
            "correct the field",
        ),
        ("[1]", "f.yaml: document 1: expected a Kubernetes object, got a list; start it with 'kind:'"),
        ("metadata: {}", "f.yaml: document 1: kind: expected text such as Pod, got nothing; name the object's kind"),
        ("kind: List\nitems: 3", "f.yaml: document 1: List: items: expected a list, got a number; correct the field"),
        (
            "kind: List\nitems: [{kind: List}]",
            "f.yaml: document 1, item 1: a List inside a List; put its items into the outer one",
        ),
        (
            "kind: Pod\nmetadata: {name\nspec: {}",
            "f.yaml, line 3: not valid YAML or JSON (did not find expected ',' or '}'); correct the file",
        ),
        (
            "kind: !!python/object/apply:os.system [id]",
            "f.yaml, line 1: not valid YAML or JSON (could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'); correct the file",
        ),
        ("[" * 100_000, "f.yaml: not valid YAML or JSON (nested deeper than 100); correct the file"),
    ],
)
def test_malformed_is_one_line_with_file_document_object_and_field(text: str, message: str) -> None:
    with pytest.raises(IdentityError) as error:
        read_manifest(text, "f.yaml")
    assert str(error.value) == message


def test_name_with_control_characters_is_escaped_in_the_message() -> None:
    with pytest.raises(IdentityError) as error:
        read_manifest('kind: Pod\nmetadata: {name: "a\\e[2J\\nb"}\nspec: 3', "f.yaml")
    assert str(error.value).isprintable()


def test_aliases_that_expand_to_billions_are_refused_at_once() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12))
    with pytest.raises(IdentityError, match="once its aliases are expanded"):
        read_manifest(f"kind: Pod\nl0: &l0 [x]\n{levels}", "f.yaml")


def test_anchors_of_ordinary_size_work() -> None:
    text = "kind: List\nitems:\n- &pod {kind: Pod, metadata: {name: p}}\n- *pod"
    assert kinds(text) == [Pod, Pod]


FIELDS = [
    "kind",
    "apiVersion",
    "metadata",
    "name",
    "namespace",
    "labels",
    "ownerReferences",
    "spec",
    "status",
    "podIP",
    "podIPs",
    "ip",
    "hostIP",
    "hostNetwork",
    "containers",
    "ports",
    "hostPort",
    "containerPort",
    "protocol",
    "items",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "loadBalancer",
    "ingress",
    "endpoints",
    "addresses",
    "targetRef",
    "nodeName",
    "zone",
    "port",
    "nodePort",
    "address",
    "addressType",
]
WORDS = ["Pod", "Service", "EndpointSlice", "Node", "List", "PodList", "v1", "10.0.0.1", "fd00::1", "None", "TCP", "a"]
LEAVES = st.none() | st.booleans() | st.integers(-1, 70000) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner),
    max_leaves=25,
)
OBJECTS = st.builds(
    lambda kind, name, parts: {"kind": kind, "metadata": {"name": name}, **parts},
    st.sampled_from(WORDS[:6]),
    st.sampled_from(["a", "b"]),
    st.dictionaries(st.sampled_from(["spec", "status", "endpoints", "ports", "items", "metadata"]), ANY_JSON),
)


def refusal(text: str) -> str:
    """Read ``text`` and ask the index; return the error's line, or nothing."""
    try:
        filled(read_manifest(text, "f")).endpoint("10.0.0.1", 80, 6, 0)
    except IdentityError as error:
        return str(error)
    return ""


@given(ANY_JSON | OBJECTS | st.lists(OBJECTS, max_size=5).map(lambda found: {"kind": "List", "items": found}))
def test_arbitrary_json_is_read_or_refused_with_one_line(document: object) -> None:
    assert refusal(json.dumps(document)).isprintable()


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_arbitrary_text_is_read_or_refused_with_one_line(text: str) -> None:
    assert refusal(text).isprintable()
    assert refusal("kind: !" + text).isprintable()


ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
OWNERS = st.builds(
    lambda name, ip, host: {
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": "n", "hostNetwork": host},
        "status": {"podIP": ip},
    },
    st.sampled_from("abc"),
    ADDRESSES,
    st.booleans(),
) | st.builds(
    lambda name, ip: {"kind": "Service", "metadata": {"name": name}, "spec": {"clusterIP": ip}},
    st.sampled_from("abc"),
    ADDRESSES,
)


@given(st.lists(OWNERS, max_size=6), st.randoms(use_true_random=False))
def test_answers_do_not_depend_on_the_order_of_distinct_objects(
    objects: list[dict[str, object]], random: object
) -> None:
    distinct = list({(one["kind"], str(one["metadata"])): one for one in objects}.values())
    shuffled = list(distinct)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (
        filled(read_manifest(json.dumps({"kind": "List", "items": items}), "f")) for items in (distinct, shuffled)
    )
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert first.endpoint(address, 80, 6, 0) == second.endpoint(address, 80, 6, 0)
