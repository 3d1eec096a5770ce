"""The metrics' encoder: collections to serialized requests, by columns.

A point is a strip of its own (its numbers) and the attributes of its series, which are encoded once. The bytes decode
to the message that the SDK's encoder makes, the oracle. Field numbers are those of opentelemetry-proto's
``metrics_service.proto`` and ``metrics.proto``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby, pairwise
from typing import NamedTuple

import numpy as np
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp.envelope import Envelope, cuts
from natlens.otlp.metrics.collection import Collection, Histograms, Sums
from natlens.otlp.metrics.encode_births import births
from natlens.otlp.metrics.encode_head import Head, kind
from natlens.otlp.metrics.encode_points import Common, own, taken
from natlens.otlp.metrics.encode_series import Encoded, KnownSeries
from natlens.otlp.request import REQUEST_BYTES, Request
from natlens.otlp.strip import Lengths

__all__ = ["REQUEST_POINTS", "MetricsEncoder"]

REQUEST_POINTS = 4000
"""Points of a request at most: about 2 MB of the default attributes."""

Part = tuple[int, slice]
"""Of some things one after the other: which one, and what of it."""


class _Points(NamedTuple):
    """Points of one metric, encoded."""

    head: Head
    octets: Sequence[Sequence[bytes]]
    """Pieces of every point, each of m."""
    lengths: Lengths
    """Shape (m,): of the points."""


class MetricsEncoder:
    """Encodes collections of one observer; keeps encoded attributes from one collection to the next.

    ``request_bytes`` and ``request_points`` limit a request; a point that is larger alone is a request of its own.
    """

    def __init__(
        self, resource: Resource, *, request_bytes: int = REQUEST_BYTES, request_points: int = REQUEST_POINTS
    ) -> None:
        self._envelope, self._request_points = Envelope(resource, "metrics", request_bytes), request_points
        self._series = KnownSeries()

    def requests(self, collection: Collection) -> Iterator[Request]:
        """Yield the collection as requests; the same collection gives the same bytes.

        Every request has one time, and none an earlier one than the request before: the births first. Prometheus
        writes ``target_info`` of a resource at the time of each request, and refuses what goes back.
        """
        tags = {kind(points).attributes for points in _metrics(collection)}
        attributes = self._series.of(collection.series, tags)
        for each in chain(births(collection), [collection]):
            metrics = _metrics(each)
            sizes = [len(points.rows) for points in metrics]
            bounds = [*range(0, sum(sizes), self._request_points), sum(sizes)]
            for parts in _parts(sizes, bounds):
                yield from self._requests([_points(each, metrics[at], of, attributes) for at, of in parts])

    def _requests(self, points: list[_Points]) -> Iterator[Request]:
        """Yield requests of as many points as there is room for."""
        heads = {one.head for one in points}
        room = self._envelope.room - sum(head.most for head in heads)
        bounds = cuts(np.concatenate([one.lengths for one in points]), room)
        for parts in _parts([len(one.lengths) for one in points], bounds):
            yield self._request([_part(points[at], of) for at, of in parts])

    def _request(self, points: list[_Points]) -> Request:
        metrics, size = list[bytes](), 0
        for head, group in groupby(points, lambda one: one.head):
            same = list(group)
            octets = sum(int(one.lengths.sum()) for one in same)
            metrics += (before := head.before(octets))
            size += sum(map(len, before)) + octets
            metrics += chain.from_iterable(chain.from_iterable(zip(*one.octets, strict=True)) for one in same)
        return self._envelope.around(metrics, size, sum(len(one.lengths) for one in points))


def _metrics(of: Collection) -> list[Sums | Histograms]:
    return [*of.sums, *of.histograms]


def _points(of: Collection, points: Sums | Histograms, part: slice, attributes: Mapping[bytes, Encoded]) -> _Points:
    points = taken(points, part)
    series = attributes[kind(points).attributes]
    common = Common(of.start_ns.take(points.rows), of.time_ns, series.lengths.take(points.rows))
    octets, lengths = own(points, common)
    return _Points(Head.of(points, of.temporality), [*octets, series.octets.take(points.rows).tolist()], lengths)


def _part(of: _Points, part: slice) -> _Points:
    return _Points(of.head, [piece[part] for piece in of.octets], of.lengths[part])


def _parts(sizes: Sequence[int], bounds: Iterable[int]) -> Iterator[list[Part]]:
    """Yield, from each of the bounds to the next, which part of which of the ``sizes`` things is there."""
    spans = list(enumerate(pairwise([0, *accumulate(sizes)])))
    for begin, end in pairwise(bounds):
        yield [
            (at, slice(max(begin, first) - first, min(end, last) - first))
            for at, (first, last) in spans
            if max(begin, first) < min(end, last)
        ]
