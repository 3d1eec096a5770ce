"""Who an address belongs to: each rule of the index, from manifests as a person writes them."""

import pytest

from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.index import Index
from natlens.identity.manifest import read_manifest
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service

TRANSPORTS = {"tcp": 6, "udp": 17, "sctp": 132}

NODE = """
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: "fd00::1"},
                     {type: Hostname, address: n1}, {type: ExternalIP, address: 198.51.100.1}]}
"""
POD = """
kind: Pod
metadata:
  {name: web-5d4f8c7b9-abcde, namespace: shop, uid: u-web, labels: {pod-template-hash: 5d4f8c7b9},
   ownerReferences: [{kind: ReplicaSet, name: web-5d4f8c7b9, controller: true}]}
spec: {nodeName: n1}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd01::1"}], hostIP: 192.168.0.1}
"""
SERVICE = """
kind: Service
metadata: {name: web, namespace: shop, uid: u-svc}
spec:
  {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd96::1"], externalIPs: [203.0.113.9],
   ports: [{port: 80, nodePort: 30080}, {port: 53, nodePort: 30053, protocol: UDP}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.8}, {hostname: lb.example}]}}
"""


def filled(objects: list[KubernetesObject], health: Health | None = None, index: Index | None = None) -> Index:
    """Return an index without history that has these objects and no others."""
    index = index or Index(health or Health())
    kinds: list[type[KubernetesObject]] = [EndpointSlice, Service, Pod, Node]
    for kind in kinds:
        index.replace(kind, [one for one in objects if isinstance(one, kind)], 0)
    return index


class Asked:
    """An index over manifests, asked with ``address[:port/transport]``."""

    def __init__(self, *documents: str) -> None:
        self.health = Health()
        self.index = filled(read_manifest("\n---\n".join(documents), "test.yaml"), self.health)

    def __call__(self, address: str, place: str = "1/tcp") -> Endpoint:
        port, _, transport = place.partition("/")
        return self.index.endpoint(address, int(port), TRANSPORTS[transport], 0)

    @property
    def ambiguous(self) -> int:
        return self.health.count("identity_ambiguous")


def host_pod(name: str, port: int = 9100) -> str:
    return f"""
kind: Pod
metadata: {{name: {name}, namespace: kube-system}}
spec: {{nodeName: n1, hostNetwork: true, containers: [{{ports: [{{containerPort: {port}}}]}}]}}
status: {{podIP: 192.168.0.1, hostIP: 192.168.0.1}}
"""


def endpoint_slice(endpoints: str, service: str = "web", ports: str = "[{port: 8080}]", namespace: str = "shop") -> str:
    return f"""
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {{name: {service}-x, namespace: {namespace}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: {endpoints}
ports: {ports}
"""


@pytest.mark.parametrize("address", ["10.1.0.1", "fd01::1"])
def test_pod_by_all_its_addresses(address: str) -> None:
    assert Asked(NODE, POD)(address) == Endpoint(
        k8s_namespace_name="shop",
        k8s_pod_name="web-5d4f8c7b9-abcde",
        k8s_pod_uid="u-web",
        k8s_node_name="n1",
        k8s_owner_name="web",
        k8s_owner_type="Deployment",
        k8s_owner_derived=True,
        k8s_object_kind="pod",
        cloud_availability_zone="z1",
    )


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pod_that_is_over_does_not_own_its_address(phase: str) -> None:
    over = POD.replace("Running", phase)
    heir = POD.replace("web-5d4f8c7b9-abcde", "heir")
    assert Asked(over)("10.1.0.1") is UNKNOWN
    asked = Asked(over, heir)
    assert asked("10.1.0.1").k8s_pod_name == "heir"
    assert asked.ambiguous == 0


def test_service_by_cluster_addresses_of_all_families_at_any_port() -> None:
    asked = Asked(NODE, SERVICE)
    expected = Endpoint(
        k8s_namespace_name="shop", k8s_service_name="web", k8s_service_uid="u-svc", k8s_object_kind="service"
    )
    assert asked("10.96.0.1", "80/tcp") == expected
    assert asked("10.96.0.1", "9999/udp") == expected
    assert asked("fd96::1", "80/tcp") == expected


@pytest.mark.parametrize("address", ["203.0.113.8", "203.0.113.9"])
def test_service_by_load_balancer_and_external_addresses(address: str) -> None:
    assert Asked(SERVICE)(address, "80/tcp").k8s_service_name == "web"
    assert Asked(SERVICE)(address, "81/tcp").k8s_service_name == "web"


def test_two_services_share_a_load_balancer_address_by_port() -> None:
    other = SERVICE.replace("web", "mail").replace("10.96.0.1", "10.96.0.2").replace("fd96::1", "fd96::2")
    other = other.replace("port: 80, nodePort: 30080", "port: 25").replace("30053", "30054").replace("53,", "54,")
    asked = Asked(SERVICE, other)
    assert asked("203.0.113.8", "80/tcp").k8s_service_name == "web"
    assert asked("203.0.113.8", "25/tcp").k8s_service_name == "mail"
    assert asked.ambiguous == 0
    assert asked("203.0.113.8", "1/tcp") is UNKNOWN
    assert asked.ambiguous == 1


@pytest.mark.parametrize("address", ["192.168.0.1", "fd00::1", "198.51.100.1"])
def test_node_port_at_every_node_address_by_protocol(address: str) -> None:
    asked = Asked(NODE, SERVICE)
    assert asked(address, "30080/tcp").k8s_service_name == "web"
    assert asked(address, "30053/udp").k8s_service_name == "web"
    assert asked(address, "30080/udp").k8s_object_kind == "node"
    assert asked("10.1.0.9", "30080/tcp") is UNKNOWN


def test_load_balancer_that_gives_node_addresses_claims_only_its_ports() -> None:
    asked = Asked(NODE, SERVICE.replace("203.0.113.8", "192.168.0.1"))
    assert asked("192.168.0.1", "80/tcp").k8s_service_name == "web"
    assert asked("192.168.0.1", "22/tcp").k8s_object_kind == "node"


def test_headless_service_has_no_address() -> None:
    headless = "kind: Service\nmetadata: {name: db}\nspec: {clusterIP: None, ports: [{port: 5432}]}"
    assert Asked(headless)("None") is UNKNOWN


def test_headless_service_is_named_where_it_alone_has_address_and_port() -> None:
    headless = "kind: Service\nmetadata: {name: db, namespace: shop, uid: u-db}\nspec: {clusterIP: None}"
    backend = "[{addresses: [10.1.0.1], targetRef: {kind: Pod, name: web-5d4f8c7b9-abcde, namespace: shop}}]"
    asked = Asked(POD, headless, endpoint_slice(backend, "db"))
    at_port = asked("10.1.0.1", "8080/tcp")
    assert (at_port.k8s_service_name, at_port.k8s_service_uid, at_port.k8s_object_kind) == ("db", "u-db", "pod")
    assert at_port.k8s_pod_name == "web-5d4f8c7b9-abcde"
    assert asked("10.1.0.1", "8081/tcp").k8s_service_name is None
    both = Asked(POD, headless, SERVICE, endpoint_slice(backend, "db"), endpoint_slice(backend, "web"))
    assert both("10.1.0.1", "8080/tcp").k8s_service_name is None


@pytest.mark.parametrize("address", ["192.168.0.1", "fd00::1", "198.51.100.1"])
def test_node_by_every_address_that_is_one(address: str) -> None:
    assert Asked(NODE)(address) == Endpoint(k8s_node_name="n1", k8s_object_kind="node", cloud_availability_zone="z1")


def test_node_is_known_from_its_pods() -> None:
    found = Asked(POD)("192.168.0.1")
    assert (found.k8s_object_kind, found.k8s_node_name) == ("node", "n1")


def test_host_network_pod_only_by_its_port() -> None:
    asked = Asked(NODE, host_pod("exporter"))
    assert asked("192.168.0.1", "9100/tcp").k8s_pod_name == "exporter"
    assert asked("fd00::1", "9100/tcp").k8s_pod_name == "exporter"
    assert asked("192.168.0.1", "9101/tcp").k8s_object_kind == "node"
    assert asked("192.168.0.1", "9100/udp").k8s_object_kind == "node"


def test_two_host_network_pods_at_one_port_are_nobody() -> None:
    asked = Asked(NODE, host_pod("a"), host_pod("b"), host_pod("c", 9200))
    assert asked("192.168.0.1", "9100/tcp") is UNKNOWN
    assert asked.ambiguous == 1
    assert asked("192.168.0.1", "9200/tcp").k8s_pod_name == "c"


def test_host_port_is_the_pod() -> None:
    port = "spec: {nodeName: n1, containers: [{ports: [{containerPort: 80, hostPort: 8088}]}]}"
    asked = Asked(NODE, POD.replace("spec: {nodeName: n1}", port))
    found = asked("192.168.0.1", "8088/tcp")
    assert (found.k8s_object_kind, found.k8s_pod_name) == ("pod", "web-5d4f8c7b9-abcde")
    assert asked("192.168.0.1", "8088/udp").k8s_object_kind == "node"
    assert asked("192.168.0.1", "80/tcp").k8s_object_kind == "node"


def test_host_port_bound_to_one_address_holds_only_there() -> None:
    port = "spec: {nodeName: n1, containers: [{ports: [{containerPort: 80, hostPort: 8088, hostIP: 198.51.100.1}]}]}"
    asked = Asked(NODE, POD.replace("spec: {nodeName: n1}", port))
    assert asked("198.51.100.1", "8088/tcp").k8s_object_kind == "pod"
    assert asked("192.168.0.1", "8088/tcp").k8s_object_kind == "node"


def test_host_port_of_a_sidecar() -> None:
    init = (
        "spec: {nodeName: n1, initContainers: [{restartPolicy: Always, ports: [{containerPort: 1, hostPort: 15000}]}, "
        "{ports: [{containerPort: 2, hostPort: 15001}]}]}"
    )
    asked = Asked(NODE, POD.replace("spec: {nodeName: n1}", init))
    assert asked("192.168.0.1", "15000/tcp").k8s_object_kind == "pod"
    assert asked("192.168.0.1", "15001/tcp").k8s_object_kind == "node"


def test_node_port_and_host_port_at_one_place_are_nobody() -> None:
    port = "spec: {nodeName: n1, containers: [{ports: [{containerPort: 80, hostPort: 30080}]}]}"
    asked = Asked(NODE, SERVICE, POD.replace("spec: {nodeName: n1}", port))
    assert asked("192.168.0.1", "30080/tcp") is UNKNOWN
    assert asked.ambiguous == 1


def test_slice_address_without_target_is_an_endpoint_of_the_service() -> None:
    asked = Asked(SERVICE, endpoint_slice("[{addresses: [172.16.0.5], zone: z9}]"))
    expected = Endpoint(
        k8s_namespace_name="shop",
        k8s_service_name="web",
        k8s_service_uid="u-svc",
        k8s_object_kind="endpoint",
        cloud_availability_zone="z9",
    )
    assert asked("172.16.0.5", "8080/tcp") == expected
    assert asked("172.16.0.5", "1/tcp") == expected


def test_two_services_that_mention_one_address_are_told_by_port() -> None:
    backend = "[{addresses: [172.16.0.5]}]"
    asked = Asked(endpoint_slice(backend, "a", "[{port: 1}]"), endpoint_slice(backend, "b", "[{port: 2}]"))
    assert asked("172.16.0.5", "1/tcp").k8s_service_name == "a"
    assert asked("172.16.0.5", "2/tcp").k8s_service_name == "b"
    assert asked("172.16.0.5", "3/tcp") is UNKNOWN
    assert asked.ambiguous == 1


def test_a_mention_does_not_take_a_pods_or_services_address() -> None:
    asked = Asked(POD, SERVICE, endpoint_slice("[{addresses: [10.1.0.1, 10.96.0.1]}]", "alias"))
    assert asked("10.1.0.1", "8080/tcp").k8s_object_kind == "pod"
    assert asked("10.96.0.1", "8080/tcp").k8s_service_name == "web"
    assert asked.ambiguous == 0


def test_slice_address_of_a_node_matches_only_with_its_port() -> None:
    asked = Asked(NODE, endpoint_slice("[{addresses: [192.168.0.1]}]"))
    assert asked("192.168.0.1", "8080/tcp").k8s_object_kind == "endpoint"
    assert asked("192.168.0.1", "8080/udp").k8s_object_kind == "node"


def test_slice_address_of_a_node_with_a_pod_behind_it_is_that_pod() -> None:
    backend = "[{addresses: [192.168.0.1], nodeName: n1, targetRef: {kind: Pod, name: proxy, namespace: edge}}]"
    asked = Asked(NODE, endpoint_slice(backend))
    found = asked("192.168.0.1", "8080/tcp")
    assert (found.k8s_object_kind, found.k8s_namespace_name, found.k8s_pod_name) == ("pod", "edge", "proxy")
    assert asked("192.168.0.1", "22/tcp").k8s_object_kind == "node"


def test_slice_whose_target_is_a_node_is_the_node() -> None:
    backend = "[{addresses: [192.168.0.7], targetRef: {kind: Node, name: n7}}]"
    found = Asked(endpoint_slice(backend, "kubelet", "[{port: 10250}]"))("192.168.0.7", "10250/tcp")
    assert (found.k8s_object_kind, found.k8s_node_name) == ("node", "n7")


def test_pod_known_only_from_a_slice() -> None:
    backend = (
        "[{addresses: [10.1.9.9], nodeName: n9, zone: z9, "
        "targetRef: {kind: Pod, name: far, namespace: shop, uid: u-far}}]"
    )
    assert Asked(endpoint_slice(backend))("10.1.9.9", "8080/tcp") == Endpoint(
        k8s_namespace_name="shop",
        k8s_pod_name="far",
        k8s_pod_uid="u-far",
        k8s_node_name="n9",
        k8s_object_kind="pod",
        cloud_availability_zone="z9",
    )


def test_pods_own_object_says_more_than_a_slice_and_is_believed() -> None:
    target = "targetRef: {kind: Pod, name: web-5d4f8c7b9-abcde, namespace: shop}"
    asked = Asked(POD, endpoint_slice(f"[{{addresses: [10.1.0.1], {target}}}, {{addresses: [10.1.0.66], {target}}}]"))
    assert asked("10.1.0.1").k8s_owner_name == "web"
    assert asked("10.1.0.66") is UNKNOWN
    over = Asked(POD.replace("Running", "Failed"), endpoint_slice(f"[{{addresses: [10.1.0.1], {target}}}]"))
    assert over("10.1.0.1") is UNKNOWN


def test_pod_manifest_without_status_gets_its_address_from_the_slice() -> None:
    pod = "kind: Pod\nmetadata: {name: p, namespace: shop, ownerReferences: [{kind: DaemonSet, name: d}]}"
    backend = "[{addresses: [10.1.0.5], targetRef: {kind: Pod, name: p, namespace: shop}}]"
    assert Asked(pod, endpoint_slice(backend))("10.1.0.5").k8s_owner_name == "d"


def test_two_pods_with_one_address_are_nobody_and_counted() -> None:
    asked = Asked(POD, POD.replace("web-5d4f8c7b9-abcde", "other"))
    assert asked("10.1.0.1") is UNKNOWN
    assert asked("fd01::1") is UNKNOWN
    assert asked.ambiguous == 2


def test_same_object_twice_is_the_later_one() -> None:
    asked = Asked(POD, POD.replace("10.1.0.1", "10.1.0.2"))
    assert asked("10.1.0.1") is UNKNOWN
    assert asked("10.1.0.2").k8s_object_kind == "pod"
    assert asked.ambiguous == 0


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("ownerReferences: [{kind: StatefulSet, name: db, controller: true}]", ("StatefulSet", "db", None)),
        ("ownerReferences: [{kind: DaemonSet, name: cni, controller: true}]", ("DaemonSet", "cni", None)),
        ("ownerReferences: [{kind: Job, name: backup-28391820, controller: true}]", ("Job", "backup-28391820", None)),
        ("ownerReferences: [{kind: Rollout, name: canary, controller: true}]", ("Rollout", "canary", None)),
        ("ownerReferences: [{kind: ReplicaSet, name: web-abc, controller: true}]", ("ReplicaSet", "web-abc", None)),
        (
            "labels: {pod-template-hash: xyz}, ownerReferences: [{kind: ReplicaSet, name: web-abc, controller: true}]",
            ("ReplicaSet", "web-abc", None),
        ),
        (
            "labels: {pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: a-b-abc, controller: true}]",
            ("Deployment", "a-b", True),
        ),
        ("ownerReferences: [{kind: A, name: a}, {kind: B, name: b, controller: true}]", ("B", "b", None)),
        ("ownerReferences: [{kind: A, name: a}, {kind: B, name: b}]", (None, None, None)),
        ("labels: {pod-template-hash: abc}", (None, None, None)),
    ],
)
def test_owner(metadata: str, expected: tuple[object, ...]) -> None:
    pod = f"kind: Pod\nmetadata: {{name: p, {metadata}}}\nstatus: {{podIP: 10.1.0.1}}"
    found = Asked(pod)("10.1.0.1")
    assert (found.k8s_owner_type, found.k8s_owner_name, found.k8s_owner_derived) == expected


def test_zone_of_a_pods_node_from_slices_that_agree() -> None:
    agree = endpoint_slice("[{addresses: [10.1.0.8], nodeName: n1, zone: z3}]")
    assert Asked(POD, agree)("10.1.0.1").cloud_availability_zone == "z3"
    other = endpoint_slice("[{addresses: [10.1.0.9], nodeName: n1, zone: z4}]", "other")
    assert Asked(POD, agree, other)("10.1.0.1").cloud_availability_zone is None


API_SERVER = (
    "kind: Service\nmetadata: {name: kubernetes, namespace: default, uid: u-api}\nspec: {clusterIP: 10.96.0.99}"
)


def test_api_server_is_special() -> None:
    backends = endpoint_slice(
        "[{addresses: [192.168.0.1]}, {addresses: [172.20.0.1]}]", "kubernetes", "[{port: 6443}]", "default"
    )
    asked = Asked(NODE, API_SERVER, backends)
    for address, port in (("10.96.0.99", 443), ("192.168.0.1", 6443), ("172.20.0.1", 6443)):
        found = asked(address, f"{port}/tcp")
        assert (found.k8s_object_kind, found.k8s_service_name) == ("apiserver", "kubernetes"), address
        assert found.k8s_service_uid == "u-api"
    assert asked("192.168.0.1", "22/tcp").k8s_object_kind == "node"


def test_api_servers_own_pod_is_named_too() -> None:
    backends = endpoint_slice("[{addresses: [192.168.0.1]}]", "kubernetes", "[{port: 6443}]", "default")
    found = Asked(NODE, host_pod("kube-apiserver-n1", 6443), backends)("192.168.0.1", "6443/tcp")
    assert (found.k8s_object_kind, found.k8s_pod_name) == ("apiserver", "kube-apiserver-n1")
    assert found.k8s_service_name == "kubernetes"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("169.254.0.1", "link_local"),
        ("fe80::1", "link_local"),
        ("febf::1", "link_local"),
        ("fec0::1", None),
        ("fe8::1", None),
        ("169.25.4.1", None),
        ("8.8.8.8", None),
    ],
)
def test_link_local(address: str, kind: str | None) -> None:
    assert Asked()(address).k8s_object_kind == kind


def test_link_local_address_that_a_service_has_is_the_services() -> None:
    dns = "kind: Service\nmetadata: {name: dns}\nspec: {clusterIP: 10.96.0.10, externalIPs: [169.254.20.10]}"
    assert Asked(dns)("169.254.20.10", "53/udp").k8s_service_name == "dns"


def test_answers_are_shared_instances_also_after_a_rebuild() -> None:
    text = "\n---\n".join([NODE, POD, SERVICE])
    index = filled(read_manifest(text, "test.yaml"))
    addresses = ("10.1.0.1", "10.96.0.1", "192.168.0.1")
    before = [index.endpoint(address, 1, 6, 0) for address in addresses]
    filled([], index=index)
    assert [index.endpoint(address, 1, 6, 0) for address in addresses] == [UNKNOWN] * 3
    filled(read_manifest(text, "test.yaml"), index=index)
    for address, one in zip(addresses, before, strict=True):
        assert index.endpoint(address, 1, 6, 0) is one
    assert index.endpoint("10.1.0.1", 1, 6, 0) is index.endpoint("fd01::1", 2, 17, 0)


def test_ipv4_mapped_addresses_in_objects_are_ipv4() -> None:
    pod = 'kind: Pod\nmetadata: {name: p}\nstatus: {podIP: "::ffff:10.1.0.1"}'
    assert Asked(pod)("10.1.0.1").k8s_pod_name == "p"
