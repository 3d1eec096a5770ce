"""Prices as a person or a program reads them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from natlens.ui import grid
from natlens.ui.combinations import Combinations, Part
from natlens.ui.grid import Title
from natlens.ui.price import Price, warnings
from natlens.ui.rows import escape

__all__ = ["PriceList"]

PARTS = [Title("SET"), Title("ATTRIBUTE"), Title("WITHOUT IT", right=True), Title("MOST COMBINATIONS HAVE")]


@dataclass(frozen=True)
class PriceList:
    """What each set costs (at least one of them), and of which records."""

    counted: Combinations
    prices: Sequence[Price]
    nodes: int | None
    """For how many nodes to estimate; None for those that were seen."""
    expiry_s: float
    """Silence after which a series is no longer sent."""

    def print_table(self, out: TextIO, *, wide: bool) -> None:
        """Print what each set costs, which attribute costs it (``wide``: all of them), what the numbers mean."""
        _lines([*self._heading(), ""], out)
        grid.show(self._titles(), [self._row(price) for price in self.prices], out)
        _lines([""], out)
        grid.show(PARTS, [row for price in self.prices for row in _parts(price, wide=wide)], out)
        _lines(["", *self._legend(), *(f"warning: {text}" for text in warnings(self.prices))], out)

    def print_json(self, out: TextIO) -> None:
        """Print all of it as one JSON object in ASCII."""
        counted = self.counted
        found = {
            "records": counted.records,
            "counted": counted.counted,
            "begin_ns": counted.begin_ns,
            "end_ns": counted.end_ns,
            "nodes": list(counted.nodes),
            "series_limit": self.prices[0].limit,
            "points": self.prices[0].points._asdict(),
            "sets": [_as_json(price, self.nodes) for price in self.prices],
            "warnings": list(warnings(self.prices)),
        }
        out.write(json.dumps(found, indent=1) + "\n")

    @property
    def _seen(self) -> int:
        return len(self.counted.nodes)

    @property
    def _estimated(self) -> int | None:
        """For how many nodes there is a column of its own."""
        return None if self.nodes == self._seen > 1 else self.nodes

    def _heading(self) -> Iterator[str]:
        counted = self.counted
        seconds = (counted.end_ns - counted.begin_ns) / 1e9
        nodes = f"{self._seen} node{'s' * (self._seen != 1)}"
        yield f"{counted.records:,} records, {counted.counted:,} of them count; {nodes}; {seconds:.0f} s"
        if seconds > self.expiry_s:
            yield (
                f"In so long a time series come and go (series_expiry={self.expiry_s:g}): fewer are live at once "
                "than are told here."
            )

    def _titles(self) -> list[Title]:
        titles = ["COMBINATIONS", "OF LIMIT", "OTLP", "PROMETHEUS"]
        titles += [f"{self._seen} NODES"] * (self._seen > 1)
        titles += [f"{nodes} NODES" for nodes in [self._estimated] if nodes is not None]
        return [Title("SET"), *(Title(text, right=True) for text in [*titles, "SUMMED"])]

    def _row(self, price: Price) -> list[str]:
        cost, points = price.cost, price.points
        least = "" if cost.complete else "≥ "
        numbers = [
            f"{least}{cost.busiest:,}",
            f"{least}{price.used:.1%}",
            f"{least}{cost.busiest * points.otlp:,}",
            f"{least}{cost.busiest * points.prometheus:,}",
        ]
        if self._seen > 1:
            numbers.append(f"{least}{cost.total * points.prometheus:,}")
        if self._estimated is not None:
            most = price.at_most(self._estimated)
            numbers.append("not known" if most is None else f"≤ {most * points.prometheus:,}")
        return [cost.name + " *" * price.configured, *numbers, f"{least}{cost.distinct * points.prometheus:,}"]

    def _legend(self) -> Iterator[str]:
        points, limit = self.prices[0].points, self.prices[0].limit
        where = "of the node that has most" if self._seen > 1 else "of this node"
        yield (
            f"COMBINATIONS of attribute values {where}: each costs {points.otlp} streams of OTLP and "
            f"{points.prometheus} series in Prometheus; a node sends {limit} streams at most (series_limit)."
        )
        several = f"; {self._seen} NODES: all of them, in Prometheus" * (self._seen > 1)
        if self._estimated is not None:
            several += f"; {self._estimated} NODES: in Prometheus, if none has more than the one that has most here"
        yield (
            f"Every node sends its own series, told apart by service.instance.id{several}. "
            "SUMMED: what sum without (instance) leaves."
        )
        if any(price.configured for price in self.prices):
            yield "* is metrics_attributes."


def _lines(lines: Sequence[str], out: TextIO) -> None:
    encoding = out.encoding or "utf-8"
    for line in lines:
        out.write(escape(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _parts(price: Price, *, wide: bool) -> Iterator[list[str]]:
    cost = price.cost
    for part in cost.parts if wide else cost.parts[:1]:
        yield [cost.name, part.attribute, f"{part.without:,} of {cost.total:,}", _top(part)]


def _top(part: Part) -> str:
    return ", ".join(f"{'(none)' if value is None else value} {count:,}" for value, count in part.top)


def _as_json(price: Price, nodes: int | None) -> dict[str, Any]:
    cost = price.cost
    found = {
        "name": cost.name,
        "attributes": cost.attributes,
        "configured": price.configured,
        "complete": cost.complete,
        "combinations": cost.by_node,
        "distinct": cost.distinct,
        "limit_used": price.used,
        "costs": [
            {
                "attribute": part.attribute,
                "without": part.without,
                "top": [{"value": value, "combinations": count} for value, count in part.top],
            }
            for part in cost.parts
        ],
    }
    return found if nodes is None else {**found, "at_most": {"nodes": nodes, "combinations": price.at_most(nodes)}}
