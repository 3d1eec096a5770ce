"""The model: adding an option is adding one field here."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["SIZE", "Options"]

SIZE = r"(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB)?"
"""How an option in bytes may be written as text."""

SECONDS = Meta(extra={"unit": "s"})
SECRET = Meta(extra={"secret": True})
BYTES = Meta(extra={"unit": "bytes"})
PATH = Meta(extra={"unit": "path"})
RARE = Meta(extra={"rare": True})
"""Not on the first screen of ``--help``."""
NAME = Meta(min_length=1)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a user may choose. A description's first sentence is the flag's help text."""

    interval: Annotated[
        float,
        SECONDS,
        Meta(
            ge=0.1,
            le=86400,
            description="Time between two records of a connection that goes on. Shorter shows "
            "long connections sooner and sends more records; a connection that ends is reported at the end of its "
            "interval either way.",
        ),
    ] = 10.0
    idle_timeout: Annotated[
        float,
        SECONDS,
        Meta(
            ge=1,
            le=86400,
            description="Silence that ends a UDP, ICMP or other flow. These have no end on the wire; "
            "30 s is the kernel's own conntrack time-out for UDP without an answer.",
        ),
    ] = 30.0
    tcp_idle_timeout: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(
            ge=1,
            le=864000,
            description="Silence that ends a TCP connection without FIN or RST. Longer keeps more "
            "silent connections in memory; when such a connection speaks again it becomes a new record series.",
        ),
    ] = 600.0
    settle: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(
            ge=0,
            le=10,
            description="How long a young connection waits for its translation. A connection that begins "
            "just before a window ends may be translated in the next one; without waiting it would be reported once "
            "without NAT.",
        ),
    ] = 0.25
    window_rows: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 24,
            description="Directed tuples that one window can count. Two windows are allocated "
            "in kernel memory, about 360 bytes a row in all (natlens doctor tells); what does not fit is counted as "
            "dropped.",
        ),
    ] = 131072
    window_translations: Annotated[
        int,
        RARE,
        Meta(
            ge=1024,
            le=1 << 24,
            description="Translations that one window can learn. Two windows are allocated in "
            "kernel memory, about 390 bytes each in all; what does not fit is counted as dropped.",
        ),
    ] = 65536
    max_connections: Annotated[
        int,
        RARE,
        Meta(
            ge=1,
            le=100_000_000,
            description="Live connections kept in memory. Above it the ones silent for longest "
            "are ended with the reason lack_of_resources.",
        ),
    ] = 500_000
    include_interfaces: Annotated[
        list[Annotated[str, NAME]],
        Meta(
            description="Interfaces to cover, as shell patterns. Which side of one is counted follows from its kind, "
            "not from its name."
        ),
    ] = msgspec.field(default_factory=lambda: ["*"])
    exclude_interfaces: Annotated[
        list[Annotated[str, NAME]],
        Meta(description="Interfaces to leave alone, as shell patterns. Wins over include_interfaces."),
    ] = msgspec.field(default_factory=list)
    attach: Annotated[
        Literal["auto", "tcx", "clsact"],
        RARE,
        Meta(
            description="How programs are attached. auto takes tcx where the kernel has it (6.6 and later), else "
            "clsact filters."
        ),
    ] = "auto"
    nat_source: Annotated[
        Literal["auto", "tc", "fentry", "kprobe", "ctnetlink"],
        RARE,
        Meta(
            description="How NAT is learned. auto: from the packets themselves where the kernel lets a tc program read "
            "their conntrack entry, else by fentry, else by kprobe, else from conntrack's events; "
            "records say which (nat.source)."
        ),
    ] = "auto"
    capture_rules: Annotated[
        list[Annotated[str, NAME]],
        RARE,
        Meta(
            description="Which connections are counted at all, decided in the kernel. Each is accept or reject, then "
            "conditions that must all hold: cidr=, port= (any end, before or after NAT), source.cidr=, source.port= "
            "(and destination., responder.), protocol=, interface=PATTERN, direction=ingress or egress. The longest "
            "prefix wins, then the order; what no rule is about is accepted.",
        ),
    ] = msgspec.field(default_factory=list)
    sampling: Annotated[
        int,
        RARE,
        Meta(
            ge=1,
            le=65536,
            description="Of how many connections one is counted, whole. 1 is all; records carry flow.sampling_rate, "
            "and metrics are scaled up.",
        ),
    ] = 1
    loader: Annotated[
        Literal["auto", "core", "bcc"],
        RARE,
        Meta(
            description="Where the programs come from. core: compiled with natlens, fitted to the kernel by its BTF; "
            "bcc: compiled at every start by python3-bpfcc against the kernel's headers, some 10 s and 250 MiB in a "
            "process that ends then; auto takes core where the kernel has BTF."
        ),
    ] = "auto"
    pin: Annotated[
        bool,
        RARE,
        Meta(
            description="Go on counting while natlens restarts. Programs and maps stay in the kernel when natlens "
            "ends, in bpffs, and the next one goes on with what they counted; natlens detach removes them."
        ),
    ] = False
    pin_path: Annotated[
        Annotated[str, NAME],
        PATH,
        RARE,
        Meta(
            description="Directory for pin. It must be in a BPF file system (bpffs); it is made where it is not there."
        ),
    ] = "/sys/fs/bpf/natlens"
    identity_file: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        Meta(
            description="File of Kubernetes objects that names addresses. Pod, Service, EndpointSlice and Node as "
            "YAML or JSON; read again when it changes."
        ),
    ] = None
    kubernetes: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Whether names come from the Kubernetes API. auto: where natlens runs in a pod, or kubeconfig "
            "is given; on takes KUBECONFIG or ~/.kube/config too."
        ),
    ] = "auto"
    kubeconfig: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        Meta(
            description="File that says how to reach the Kubernetes API. Without it a pod's own ServiceAccount is "
            "used. natlens needs the rights in charts/rules.yaml, which only read."
        ),
    ] = None
    kube_context: Annotated[
        Annotated[str, NAME] | None,
        RARE,
        Meta(description="Which context of that file. Without it its current-context."),
    ] = None
    pods: Annotated[
        Literal["node", "node+lookup", "cluster", "off"],
        Meta(
            description="Which pods are watched. node: this node's; those of other nodes are known where a Service "
            "has them. node+lookup asks for other addresses, at most once in 10 s; cluster watches all, which "
            "costs the API server and memory; off watches none."
        ),
    ] = "node"
    name_wait: Annotated[
        float,
        SECONDS,
        Meta(
            ge=0,
            le=60,
            description="How long a packet's record waits for its names. What the Kubernetes API tells later than "
            "this after the packet may come too late for its record; with a shorter time an address that was given "
            "to another pod meanwhile may be told wrong.",
        ),
    ] = 2.0
    name_grace: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(
            ge=1,
            le=86400,
            description="How long names outlive what they name. For late packets of a pod that is gone; ends at "
            "once where its address is another's.",
        ),
    ] = 60.0
    labels: Annotated[
        list[Annotated[str, NAME]],
        Meta(
            description="Labels of pods, Services and nodes that records carry. Each becomes an attribute such as "
            "source.k8s.pod.label.KEY."
        ),
    ] = msgspec.field(default_factory=list)
    annotations: Annotated[
        list[Annotated[str, NAME]],
        RARE,
        Meta(description="Annotations that records carry. As labels; a value is cut at 1 KiB."),
    ] = msgspec.field(default_factory=list)
    cluster_cidrs: Annotated[
        list[Annotated[str, NAME]],
        Meta(
            description="Networks of the cluster's pods beside the nodes' podCIDRs. Needed where pods have other "
            "addresses (AWS VPC CNI, Calico pools), so that nodes agree whose record of a connection counts."
        ),
    ] = msgspec.field(default_factory=list)
    cidr_labels: Annotated[
        dict[Annotated[str, NAME], Annotated[str, NAME]],
        RARE,
        Meta(
            description="Names for networks outside the cluster, as CIDR=LABEL. An address that no object has "
            "gets the label as its k8s.object.kind; the longest prefix wins."
        ),
    ] = msgspec.field(default_factory=dict)
    agents: Annotated[
        Annotated[str, NAME] | None,
        RARE,
        Meta(
            description="natlens' own headless Service, as NAMESPACE/NAME. It tells which nodes run an agent, "
            "so that another node's record counts for those that do not; without it all nodes are taken to."
        ),
    ] = None
    cluster_name: Annotated[
        Annotated[str, NAME] | None,
        Meta(description="The cluster's name in every record's resource. Kubernetes itself does not know one."),
    ] = None
    node_name: Annotated[
        Annotated[str, NAME] | None,
        Meta(
            description="This node's name in Kubernetes. Set it from spec.nodeName; without it records carry only "
            "the host's name."
        ),
    ] = None
    endpoint: Annotated[
        Annotated[str, NAME] | None,
        Meta(
            description="Where records are sent, as a URL of an OTLP receiver. For example http://collector:4317, or "
            "with protocol http/protobuf http://collector:4318, to which /v1/logs is appended; without it "
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT are asked, and without those records "
            "are printed."
        ),
    ] = None
    protocol: Annotated[
        Literal["grpc", "http/protobuf"] | None,
        Meta(
            description="How OTLP is sent. Without it OTEL_EXPORTER_OTLP_LOGS_PROTOCOL and "
            "OTEL_EXPORTER_OTLP_PROTOCOL are asked, then it is grpc."
        ),
    ] = None
    compression: Annotated[
        Literal["none", "gzip", "zstd"] | None,
        Meta(
            description="How requests are compressed. Without it OTEL_EXPORTER_OTLP_LOGS_COMPRESSION and "
            "OTEL_EXPORTER_OTLP_COMPRESSION are asked, then it is gzip, which every receiver takes; zstd costs a "
            "quarter of the processor time, and OpenTelemetry Collectors take it."
        ),
    ] = None
    headers: Annotated[
        dict[Annotated[str, NAME], str],
        SECRET,
        Meta(
            description="Headers sent with every request. In a variable or flag name=value,… with percent-encoded "
            "values, as in OTEL_EXPORTER_OTLP_HEADERS; prefer the file or a variable, because other users of the "
            "host can read flags."
        ),
    ] = msgspec.field(default_factory=dict)
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=3600)] | None,
        SECONDS,
        RARE,
        Meta(
            description="Time that one export may take. Without it OTEL_EXPORTER_OTLP_LOGS_TIMEOUT and "
            "OTEL_EXPORTER_OTLP_TIMEOUT are asked, then it is 10 s."
        ),
    ] = None
    requests_in_flight: Annotated[
        int,
        RARE,
        Meta(
            ge=1,
            le=64,
            description="Requests that may await their answers at once. More help where answers are slow; "
            "1 keeps records strictly in order, as metrics always are.",
        ),
    ] = 4
    ca_file: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        Meta(
            description="Certificates to trust instead of the system's, as PEM. Without it "
            "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE and OTEL_EXPORTER_OTLP_CERTIFICATE are asked, then the system's are "
            "trusted (SSL_CERT_FILE and SSL_CERT_DIR say where they are)."
        ),
    ] = None
    client_certificate_file: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        RARE,
        Meta(
            description="Certificate to show to the receiver, as PEM. Without it "
            "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE are asked."
        ),
    ] = None
    client_key_file: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        RARE,
        Meta(
            description="Key of that certificate, as PEM without a password. Without it "
            "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_KEY are asked."
        ),
    ] = None
    signals: Annotated[
        list[Literal["logs", "metrics", "traces"]],
        Meta(
            min_length=1,
            description="What is sent. logs: a record of each connection and interval; metrics: sums over connections; "
            "traces: a span of each connection. Metrics are what to keep for long; logs and traces grow with the "
            "traffic.",
        ),
    ] = msgspec.field(default_factory=lambda: ["logs", "metrics"])
    metrics_attributes: Annotated[
        list[Annotated[str, NAME]],
        RARE,
        Meta(
            min_length=1,
            description="What metrics tell apart: owner, service-backend, zone, pod, or names of attributes. Several "
            "are taken together; natlens cardinality tells what each costs.",
        ),
    ] = msgspec.field(default_factory=lambda: ["owner"])
    metrics_include: Annotated[
        list[Annotated[str, NAME]],
        RARE,
        Meta(
            description="Only connections like one of these are in metrics. namespace=PATTERN, cidr=NETWORK, "
            "port=NUMBER or kind=KIND of any end; after source., destination. or responder. of that end."
        ),
    ] = msgspec.field(default_factory=list)
    metrics_exclude: Annotated[
        list[Annotated[str, NAME]],
        RARE,
        Meta(description="Connections like one of these are not in metrics. Written like metrics_include."),
    ] = msgspec.field(default_factory=list)
    metrics_of: Annotated[
        Literal["primary", "all"],
        RARE,
        Meta(
            description="Which records metrics sum. primary: those that count, so that a sum over nodes is the truth; "
            "all: every node's, told apart by flow.reporter."
        ),
    ] = "primary"
    metrics_interval: Annotated[
        Annotated[float, Meta(ge=0.1, le=86400)] | None,
        SECONDS,
        RARE,
        Meta(
            description="Time between two points of a metric. Without it OTEL_METRIC_EXPORT_INTERVAL is asked, then "
            "it is 15 s."
        ),
    ] = None
    metrics_temporality: Annotated[
        Literal["cumulative", "delta"] | None,
        RARE,
        Meta(
            description="Whether a point tells everything since its series began, or since the point before. Without "
            "it OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE is asked, then it is cumulative, which Prometheus "
            "needs."
        ),
    ] = None
    metrics_histogram: Annotated[
        Literal["explicit", "exponential"] | None,
        RARE,
        Meta(
            description="Buckets of flow.duration. Without it "
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION is asked, then it is explicit."
        ),
    ] = None
    series_limit: Annotated[
        int,
        RARE,
        Meta(
            ge=100,
            le=10_000_000,
            description="Series of metrics at most. What is over goes to one series with otel.metric.overflow=true.",
        ),
    ] = 20_000
    series_expiry: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(ge=1, le=864000, description="Silence after which a series is no longer sent."),
    ] = 300.0
    span_ratio: Annotated[
        float,
        RARE,
        Meta(
            ge=0,
            le=1,
            description="Share of the connections that have a span. Chosen by flow.id, so that every node chooses "
            "the same.",
        ),
    ] = 1.0
    span_max_age: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(
            ge=1,
            le=86400,
            description="Longest time that one span tells of. A connection that goes on has linked spans, one after "
            "another.",
        ),
    ] = 300.0
    telemetry: Annotated[
        Literal["on", "off"],
        RARE,
        Meta(
            description="Whether natlens sends metrics of itself. They go where metrics go; see also "
            "telemetry_interval and listen."
        ),
    ] = "on"
    telemetry_interval: Annotated[
        float,
        SECONDS,
        RARE,
        Meta(ge=1, le=86400, description="Time between two points of natlens' metrics of itself."),
    ] = 60.0
    listen: Annotated[
        Annotated[str, NAME] | None,
        Meta(
            description="Address and port of /metrics, /healthz and /readyz. For example :9464, or 127.0.0.1:9464 for "
            "this host alone; /metrics is for Prometheus to scrape; without it nothing listens."
        ),
    ] = None
    queue_bytes: Annotated[
        int,
        BYTES,
        Meta(
            ge=1 << 20,
            le=1 << 40,
            description="Memory for requests that wait to be sent, compressed. Number of bytes or "
            "text such as 64MiB, divided between the signals; when it is full the oldest are dropped and counted.",
        ),
    ] = 64 << 20
    shutdown_grace: Annotated[
        float,
        SECONDS,
        Meta(
            ge=0,
            le=3600,
            description="Time to send what waits when natlens stops. Keep it below the pod's "
            "terminationGracePeriodSeconds.",
        ),
    ] = 10.0
    output: Annotated[
        Annotated[str, NAME] | None,
        PATH,
        Meta(
            description="File that gets every record as OTLP JSON lines. The format of the Collector's file "
            "exporter, so that natlens observe --input can read either."
        ),
    ] = None
    format: Annotated[
        Literal["table", "wide", "json"],
        Meta(description="How records are printed. wide adds addresses behind names; json is one object a line."),
    ] = "table"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least severity of natlens' own messages. They go to standard error."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        RARE,
        Meta(description="How natlens' own messages are written. json is one object a line."),
    ] = "text"
    debug: Annotated[
        bool,
        Meta(description="Show a traceback with an error. For reports to the project."),
    ] = False
