"""HTTP for the API server of the tests."""

import gzip
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.identity.api.encode import Manifest, message_of, object_body, protobuf_frame, protobuf_list, status, wrapped
from tests.identity.api.script import Drip, Hang, Play, Refuse, Request, Reset, Script, Serve
from tests.identity.api.store import PATHS, Store

__all__ = ["ApiHttpServer", "Handler", "Served"]

PROTOBUF, JSON = "application/vnd.kubernetes.protobuf", "application/json"


class Served(Script):
    """What a handler needs to know of its API."""

    store: Store
    protobuf: bool
    bookmarks_s: float | None


class ApiHttpServer(ThreadingHTTPServer):
    """A server whose handlers find their API."""

    api: Served


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, as the server's script says."""

    server: "ApiHttpServer"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.api = self.server.api
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(url.path, dict(parse_qsl(url.query)), headers)
        self.protobuf = self.api.protobuf and PROTOBUF in headers.get("accept", "")
        match self.api.take(request):
            case Serve() as serve:
                self._watch(request) if request.watch and serve.changed is None else self._list(request, serve)
            case Refuse() as refuse:
                self._refuse(refuse)
            case Hang(after_headers):
                if after_headers:
                    self._begin()
                self.api.leaving.wait()
            case Drip(every_s):
                self._begin()
                self._chunk(b"\0\x10\0\0" if self.protobuf else b"{")
                while not self.api.leaving.wait(every_s):
                    self._chunk(b"\x0a" if self.protobuf else b" ")
            case Reset():
                self.close_connection = True
            case Play(events, then):
                self._play(request, events, then)

    def log_message(self, *_: object) -> None:
        pass

    def _list(self, request: Request, serve: Serve) -> None:
        store, kind = self.api.store, PATHS.get(request.path)
        if kind is None:
            self._one(request)
            return
        if int(request.query.get("resourceVersion", "0")) > store.version:
            causes = ("ResourceVersionTooLarge",)
            self._refuse(
                Refuse(504, "Too large resource version: 9, current: 1", details_retry_after_s=1, causes=causes)
            )
            return
        version, found = store.find(kind, request.query.get("fieldSelector", ""))
        body = self._list_body(kind, str(version), found) if serve.changed is None else serve.changed
        self._reply(200, body, serve.content_type or self._type(), cut_after=serve.cut_after_bytes)

    def _one(self, request: Request) -> None:
        collection, _, name = request.path.rpartition("/")
        kind = PATHS.get(collection, "Node")  # a namespace has what a node has
        found = self.api.store.find(kind if collection in PATHS else "Namespace", f"metadata.name={name}")[1]
        if not found:
            self._refuse(Refuse(404, f'"{name}" not found'))
        else:
            self._reply(200, object_body(kind, found[0], protobuf=self.protobuf), self._type())

    def _watch(self, request: Request) -> None:
        store, kind, version = self.api.store, PATHS[request.path], int(request.query["resourceVersion"])
        self._begin()
        if version < store.oldest:
            self._event("ERROR", "Status", status(410, "too old resource version"))
            self._chunk(b"")
            return
        bookmarks = self.api.bookmarks_s if request.query.get("allowWatchBookmarks") == "true" else None
        deadline = time.monotonic() + float(request.query["timeoutSeconds"])
        while not self.api.leaving.is_set() and time.monotonic() < deadline:
            with store.changed:
                changes = store.since(kind, request.query.get("fieldSelector", ""), version)
                if not changes and not store.changed.wait(bookmarks) and bookmarks is not None:
                    version = store.version
            for change in changes:
                self._event(change.event, kind, change.manifest)
                version = change.version
            if not changes and bookmarks is not None:
                self._event("BOOKMARK", kind, {"metadata": {"resourceVersion": str(version)}})
        self._chunk(b"")

    def _play(self, request: Request, events: tuple[tuple[str, Manifest], ...], then: str) -> None:
        self._begin()
        for event, manifest in events:
            self._event(event, "Status" if event == "ERROR" else PATHS[request.path], manifest)
        if then == "stay":
            self.api.leaving.wait()
        if then == "end":
            self._chunk(b"")
        else:
            self.close_connection = True

    def _list_body(self, kind: str, version: str, found: list[Manifest]) -> bytes:
        if self.protobuf:
            return protobuf_list(kind, version, [message_of(kind, one).SerializeToString() for one in found])
        return json.dumps({"kind": f"{kind}List", "metadata": {"resourceVersion": version}, "items": found}).encode()

    def _event(self, event: str, kind: str, manifest: Manifest) -> None:
        if self.protobuf:
            self._chunk(protobuf_frame(event, wrapped(kind, message_of(kind, manifest).SerializeToString())))
        else:
            self._chunk(json.dumps({"type": event, "object": manifest}).encode() + b"\n")

    def _refuse(self, refuse: Refuse) -> None:
        found = status(refuse.code, refuse.message, refuse.details_retry_after_s, refuse.causes)
        wanted = {"Retry-After": refuse.retry_after, "Location": refuse.location}
        headers = {name: value for name, value in wanted.items() if value is not None}
        self._reply(refuse.code, object_body("Status", found, protobuf=self.protobuf), self._type(), headers)

    def _reply(
        self,
        code: int,
        body: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
        cut_after: int | None = None,
    ) -> None:
        if "gzip" in self.headers.get("accept-encoding", ""):
            body, headers = gzip.compress(body, 1), {**(headers or {}), "Content-Encoding": "gzip"}
        self.send_response(code)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut_after])
        self.close_connection = self.close_connection or cut_after is not None

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{self._type()};stream=watch" if self.protobuf else JSON)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _type(self) -> str:
        return PROTOBUF if self.protobuf else JSON
