"""Encoded attributes: made once, kept while the series is in each collection, and never those of another."""

import gc
import weakref

from natlens.otlp.metrics.collection import Attributes
from natlens.otlp.metrics.encode_series import KnownSeries, encoded

TAG, OTHER = b"\x3a", b"\x0a"


class Text(str):
    """A text that tells when it is gone."""

    __slots__ = ("__weakref__",)


def series(*names: str) -> list[Attributes]:
    return [(("source.k8s.pod.name", name), ("network.transport", "tcp")) for name in names]


def test_the_octets_of_a_series_are_the_same_object_while_it_lives() -> None:
    known, (first, second) = KnownSeries(), series("a", "b")
    before = known.of([first, second], [TAG])[TAG]
    again = known.of([second, first], [TAG])[TAG]
    assert again.octets[1] is before.octets[0]
    assert again.octets.tolist() == [encoded(one, TAG) for one in (second, first)]
    assert again.lengths.tolist() == [len(one) for one in again.octets]


def test_a_series_that_a_collection_lacks_is_forgotten() -> None:
    known, gone = KnownSeries(), Text("a")
    known.of(series(gone, "b"), [TAG])
    watched = weakref.ref(gone)
    del gone
    assert watched() is not None
    known.of(series("c"), [TAG])
    gc.collect()
    assert watched() is None


def test_a_kind_of_point_that_a_collection_lacks_is_forgotten() -> None:
    known, (one,) = KnownSeries(), series("a")
    before = known.of([one], [TAG, OTHER])
    after = known.of([one], [TAG])
    assert list(after) == [TAG]
    assert before[OTHER].octets[0] == encoded(one, OTHER)


def test_equal_values_of_different_types_are_not_mixed_up() -> None:
    many: list[Attributes] = [(("a", value),) for value in (1, True, 1.0, "1", 0.0, -0.0)]
    made = KnownSeries().of(many, [TAG])[TAG].octets.tolist()
    assert made == [encoded(one, TAG) for one in many]
    assert len(set(made)) == len(many)
