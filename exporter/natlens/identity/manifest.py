"""A file of ordinary Kubernetes objects to :mod:`natlens.identity.objects`."""

from collections.abc import Iterator

import msgspec

from natlens.errors import IdentityError
from natlens.identity.documents import documents
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service, canonical, decode_special

__all__ = ["read_manifest"]

KINDS: dict[str, tuple[type[KubernetesObject], str]] = {
    "Pod": (Pod, "v1"),
    "Service": (Service, "v1"),
    "Node": (Node, "v1"),
    "EndpointSlice": (EndpointSlice, "discovery.k8s.io/v1"),
}
LISTS = {"List": "", **{f"{kind}List": kind for kind in KINDS}}

Mapping = dict[object, object]


def read_manifest(text: str, source: str) -> list[KubernetesObject]:
    """Return the Pods, Services, EndpointSlices and Nodes in a YAML or JSON text; other kinds are ignored.

    Raises :class:`IdentityError` naming ``source`` (the file), the document, the object and the field.
    """
    return [
        found
        for number, document in documents(text, source)
        if document is not None
        for place, item in _items(document, f"{source}: document {number}")
        if (found := _object(item, place)) is not None
    ]


def _items(document: object, place: str) -> Iterator[tuple[str, Mapping]]:
    """Yield each object of a document with its place; a List stands for its items."""
    kind, mapping = _checked(document, place)
    if kind not in LISTS:
        yield place, mapping
        return
    items = mapping.get("items") or []
    if not isinstance(items, list):
        raise IdentityError(f"{place}: {kind}: items: expected a list, got {_type(items)}; correct the field")
    for position, item in enumerate(items, 1):
        where = f"{place}, item {position}"
        kind_of_items = LISTS[kind]  # the API leaves the kind out of a PodList's items
        named = {"kind": kind_of_items, **item} if kind_of_items and isinstance(item, dict) else item
        if _checked(named, where)[0] in LISTS:
            raise IdentityError(f"{where}: a List inside a List; put its items into the outer one")
        yield where, named


def _checked(document: object, place: str) -> tuple[str, Mapping]:
    """Return the kind and the object, if it is one."""
    if not isinstance(document, dict):
        raise IdentityError(f"{place}: expected a Kubernetes object, got {_type(document)}; start it with 'kind:'")
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind:
        raise IdentityError(f"{place}: kind: expected text such as Pod, got {_type(kind)}; name the object's kind")
    return kind, document


def _object(item: Mapping, place: str) -> KubernetesObject | None:
    kind = str(item["kind"])
    model, api_version = KINDS.get(kind, (None, ""))
    if model is None or item.get("apiVersion", api_version) != api_version:
        return None  # a Service of serving.knative.dev is another thing
    try:
        found = msgspec.convert(item, model, dec_hook=decode_special)
    except (msgspec.ValidationError, RecursionError) as error:
        raise IdentityError(f"{place}: {kind} {_name(item)}: {_problem(error)}; correct the field") from error
    if isinstance(found, EndpointSlice):
        _normalise(found, f"{place}: {kind} {_name(item)}")
    return found


def _normalise(found: EndpointSlice, place: str) -> None:
    """Make a slice's addresses canonical; names (addressType FQDN) are no addresses."""
    if found.address_type == "FQDN":
        found.endpoints = None
    for position, endpoint in enumerate(found.endpoints or ()):
        for at, text in enumerate(endpoint.addresses):
            address = canonical(text)
            if address is None:
                field = f"endpoints[{position}].addresses[{at}]"
                raise IdentityError(f"{place}: {field}: {text[:60]!r} is not an IP address; correct the field")
            endpoint.addresses[at] = address


def _problem(error: Exception) -> str:
    """Return ``field: what is wrong`` from msgspec's ``What is wrong - at `$.field```."""
    what, _, where = str(error).replace("`", "").partition(" - at ")
    what = what[:1].lower() + what[1:]
    return f"{where.replace('$.', '', 1)}: {what}" if where not in {"", "$"} else what


def _name(item: Mapping) -> str:
    metadata = item.get("metadata")
    names = [metadata.get("namespace"), metadata.get("name")] if isinstance(metadata, dict) else []
    text = "/".join(name[:60] for name in names if isinstance(name, str))
    return (text if text.isprintable() else ascii(text)) or "(without a name)"


def _type(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
