"""Plain REST to an API server: objects in and out as JSON."""

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from natlens.ui.lab.namespaces import Namespace
from tests.cluster.server import connect

__all__ = ["Api", "ApiError", "Json", "path_of"]

Json = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"


class _Resource(NamedTuple):
    plural: str
    namespaced: bool = True


KINDS = {
    "Namespace": _Resource("namespaces", namespaced=False),
    "Node": _Resource("nodes", namespaced=False),
    "ClusterRole": _Resource("clusterroles", namespaced=False),
    "ClusterRoleBinding": _Resource("clusterrolebindings", namespaced=False),
    "Pod": _Resource("pods"),
    "Service": _Resource("services"),
    "ServiceAccount": _Resource("serviceaccounts"),
    "EndpointSlice": _Resource("endpointslices"),
}


class ApiError(Exception):
    """The API server refused; ``status`` is the HTTP status, ``reason`` Kubernetes' word for it (``NotFound``)."""

    def __init__(self, what: str, status: int, body: str) -> None:
        try:
            told = json.loads(body)
        except ValueError:
            told = {"message": body}
        super().__init__(f"{what}: {status} {told.get('message', '')}")
        self.status = status
        self.reason = str(told.get("reason", ""))


def path_of(thing: Json, *, collection: bool = False) -> str:
    """Return where an object (by its apiVersion, kind, namespace and name) is, or where to create it."""
    version, resource, metadata = thing["apiVersion"], KINDS[thing["kind"]], thing["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if resource.namespaced:
        root += f"/namespaces/{metadata.get('namespace', 'default')}"
    return f"{root}/{resource.plural}" + ("" if collection else f"/{metadata['name']}")


class Api:
    """A client with a bearer token, in a namespace; it keeps one connection and may be used by several threads."""

    def __init__(self, namespace: Namespace, host: str, port: int, ca: Path, token: str) -> None:
        self._namespace = namespace
        self._address = host, port
        self._ca = ca
        self._token = token
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, **query: object) -> Json:
        """Return an object or a list (``/api/v1/pods``); the query as in ``limit=500``."""
        told: Json = json.loads(self.text(path, **query))
        return told

    def text(self, path: str, **query: object) -> str:
        """Return what is at a path, such as ``/metrics``."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path)

    def read(self, thing: Json) -> Json:
        """Return an object as it is now."""
        return self.get(path_of(thing))

    def create(self, thing: Json) -> Json:
        """Create an object."""
        return self._send("POST", path_of(thing, collection=True), thing)

    def ask(self, thing: Json, subresource: str, body: Json) -> Json:
        """Ask an object for something: a ``token``, an ``eviction``."""
        return self._send("POST", f"{path_of(thing)}/{subresource}", body)

    def replace(self, thing: Json, subresource: str = "") -> Json:
        """Replace an object."""
        return self._send("PUT", path_of(thing) + (f"/{subresource}" if subresource else ""), thing)

    def patch(self, thing: Json, change: Json, subresource: str = "") -> Json:
        """Merge a change into an object, or into its ``status``."""
        path = path_of(thing) + (f"/{subresource}" if subresource else "")
        return self._send("PATCH", path, change, MERGE_PATCH)

    def apply(self, thing: Json) -> Json:
        """Create an object, or replace the one that is there."""
        try:
            there = self.read(thing)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return self.create(thing)
        metadata = {**thing["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}
        return self.replace({**thing, "metadata": metadata})

    def delete(self, thing: Json, *, grace: int | None = None) -> Json:
        """Delete an object; ``grace`` 0 is what a kubelet does when a pod's containers are gone."""
        return self._send("DELETE", path_of(thing), {} if grace is None else {"gracePeriodSeconds": grace})

    def delete_all(self, like: Json, **query: object) -> Json:
        """Delete all objects of the kind and namespace of this one that a query selects (``labelSelector=…``)."""
        return self._send("DELETE", f"{path_of(like, collection=True)}?{urlencode(query)}", {})

    def _send(self, method: str, path: str, body: Json, content: str = "application/json") -> Json:
        told: Json = json.loads(self._call(method, path, json.dumps(body), {"Content-Type": content}))
        return told

    def _call(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> str:
        headers = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        with self._lock:
            kept = self._connection is not None
            try:
                status, told = self._exchange(method, path, body, headers)
            except (OSError, http.client.HTTPException):
                if not kept:
                    raise
                status, told = self._exchange(method, path, body, headers)  # the server had restarted meanwhile
        if status >= 300:
            raise ApiError(f"{method} {path}", status, told)
        return told

    def _exchange(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, str]:
        try:
            if self._connection is None:
                tls = ssl.create_default_context(cafile=str(self._ca))
                self._connection = connect(self._namespace, *self._address, tls)
            self._connection.request(method, path, body, dict(headers))
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()
