"""The table, second part: names from Kubernetes objects."""

from natlens.telemetry.row import Alert, Metric, Source, added

__all__ = ["IDENTITY"]

RESOURCE = {"resource": "natlens.resource"}
RESULT = {"resource": "natlens.resource", "code": "natlens.result"}

IDENTITY: list[Metric] = [
    Metric(
        "natlens.identity.ready",
        "gauge",
        "{state}",
        "Whether there are names: 1, or 0 while records wait for the first lists.",
        (Source("names_ready"),),
        Alert(
            "NatlensNamesNotReady",
            "max by (job, instance) (natlens_identity_ready) == 0",
            "natlens on {{ $labels.instance }} has no names.",
            "Read its log: it names the server and what was refused.",
            lasting="5m",
        ),
    ),
    Metric(
        "natlens.identity.synced",
        "gauge",
        "{state}",
        "Whether a resource is in step with the API server: 1 or 0.",
        (Source("identity_synced", RESOURCE),),
        Alert(
            "NatlensIdentityOutOfStep",
            "min by (job, instance, natlens_resource) (natlens_identity_synced) == 0",
            "{{ $labels.natlens_resource }} is out of step with the API server: names may be missing or old.",
            "Read the log: it names the server, the failure and the way out (rights, token, network).",
            lasting="10m",
        ),
    ),
    Metric(
        "natlens.identity.heard.age",
        "gauge",
        "s",
        "How far names may lag: time since the API server last said something of a resource (bookmarks included).",
        (Source("identity_heard_s", RESOURCE, age=True),),
        Alert(
            "NatlensIdentityLags",
            "max by (job, instance, natlens_resource) (natlens_identity_heard_age_seconds) > 3600",
            "Nothing was heard of {{ $labels.natlens_resource }} for an hour.",
            "A watch should hear a bookmark each minute, node lists come every ten. Check the API server and proxies.",
        ),
    ),
    Metric(
        "natlens.identity.objects",
        "updown",
        "{object}",
        "Objects in the index, those of the past included.",
        (Source("identity_objects"),),
        "follows the cluster",
    ),
    Metric(
        "natlens.identity.ends",
        "counter",
        "{endpoint}",
        "Ends of records by what they were named as (k8s.object.kind); unknown: nothing was known.",
        (Source("identity_ends", {"kind": "k8s.object.kind"}, known=({"kind": "unknown"},)),),
        Alert(
            "NatlensNamesMissing",
            'sum by (job, instance) (rate(natlens_identity_ends_total{k8s_object_kind="unknown"}[15m])) > '
            "0.5 * sum by (job, instance) (rate(natlens_identity_ends_total[15m])) and on (job, instance) "
            "max by (job, instance) (natlens_identity_synced) == 1",
            "Most ends of records on {{ $labels.instance }} have no name.",
            "natlens resolve ADDRESS tells why. Pods in unknown networks: set cluster_cidrs; names for outside: "
            "cidr_labels.",
            "info",
            "30m",
        ),
    ),
    Metric(
        "natlens.identity.ambiguous",
        "counter",
        "{lookup}",
        "Ends without a name because more than one object claims the address.",
        (Source("identity_ambiguous"),),
        Alert(
            "NatlensIdentityAmbiguous",
            added("natlens_identity_ambiguous_total"),
            "More than one object claims an address: such ends have no name.",
            "natlens resolve ADDRESS lists the claims. Pods with hostNetwork that share a port do that.",
            "info",
        ),
    ),
    Metric(
        "natlens.identity.primary_unsure",
        "gauge",
        "{address}",
        "Local pods whose address other nodes cannot know to be the cluster's.",
        (Source("primary_unsure"),),
        Alert(
            "NatlensPrimaryUnsure",
            "max by (job, instance) (natlens_identity_primary_unsure) > 0",
            "Connections of some pods on {{ $labels.instance }} may count twice or not at all in sums over nodes.",
            "Set cluster_cidrs to the networks of the cluster's pods.",
        ),
    ),
    Metric(
        "natlens.identity.requests",
        "counter",
        "{request}",
        "Requests to the API server, by HTTP status or what failed instead.",
        (Source("identity_requests", RESULT),),
        "NatlensIdentityOutOfStep tells when failures matter",
    ),
    Metric(
        "natlens.identity.watch.restarts",
        "counter",
        "{watch}",
        "Watches that broke and were begun again, by reason.",
        (Source("identity_broken", {**RESOURCE, "code": "error.type"}),),
        Alert(
            "NatlensWatchesBreak",
            "sum by (job, instance, natlens_resource, error_type) "
            "(increase(natlens_identity_watch_restarts_total[10m])) > 10",
            "The watch of {{ $labels.natlens_resource }} breaks again and again ({{ $labels.error_type }}).",
            "A proxy or load balancer before the API server may cut long requests; each restart may cost a list.",
        ),
    ),
    Metric(
        "natlens.identity.io",
        "counter",
        "By",
        "Octets that came from the API server.",
        (Source("identity_bytes", RESOURCE),),
        "follows the cluster's changes",
    ),
    Metric(
        "natlens.identity.lookups",
        "counter",
        "{lookup}",
        "Questions for pods on other nodes, by how they ended; refused: too many at once.",
        (Source("identity_lookups", {"result": "natlens.result"}),),
        Alert(
            "NatlensLookupsRefused",
            added("natlens_identity_lookups_total", only='natlens_result="refused"'),
            "natlens on {{ $labels.instance }} did not ask for all unknown pods.",
            "Many addresses were new at once. If it lasts: option pods=cluster watches all of them.",
            "info",
        ),
    ),
    Metric(
        "natlens.identity.unreadable",
        "counter",
        "{object}",
        "Objects that could not be read, by kind: they have no names.",
        (Source("identity_unreadable", {"kind": "k8s.object.kind"}),),
        Alert(
            "NatlensObjectsUnreadable",
            added("natlens_identity_unreadable_total", "k8s_object_kind"),
            "Objects of kind {{ $labels.k8s_object_kind }} could not be read.",
            "Report it with the versions of natlens and Kubernetes.",
        ),
    ),
    Metric(
        "natlens.identity.refresh.failures",
        "counter",
        "{read}",
        "Times that identity_file changed and could not be read: what was read before stays in force.",
        (Source("identity_refresh_failed"),),
        Alert(
            "NatlensIdentityFileBroken",
            added("natlens_identity_refresh_failures_total"),
            "identity_file on {{ $labels.instance }} cannot be read.",
            "The log names the line.",
        ),
    ),
]
