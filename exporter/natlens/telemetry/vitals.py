"""Whether natlens lives and whether it does its work, as Kubernetes' probes ask."""

from http import HTTPStatus

from natlens.health import Health
from natlens.telemetry.server import Answer

__all__ = ["Vitals"]

INTERVALS = 3
LEAST_S = 10.0
"""Less than that is no sign of anything: a busy node may keep the loop waiting."""


class Vitals:
    """Tells ``window``'s age, ``capturing`` and ``names_ready`` of Health; ``interval_s`` is the windows' distance."""

    def __init__(self, health: Health, interval_s: float) -> None:
        self._health = health
        self._limit_s = max(INTERVALS * interval_s, LEAST_S)

    def alive(self) -> Answer:
        """Answer /healthz: 503 where the loop reads no windows any more."""
        age = self._health.age("window")
        if age is None:
            return _answer(True, "starting: no window yet")
        said = f"last window {age:.1f} s ago, at most {self._limit_s:g} s"
        return _answer(age <= self._limit_s, said if age <= self._limit_s else f"stuck: {said}")

    def ready(self) -> Answer:
        """Answer /readyz: 200 while packets are counted and records have names (or need not wait for them any more)."""
        capturing, named = (bool(self._health.gauge(name)) for name in ("capturing", "names_ready"))
        alive = self.alive()
        said = [
            "capturing" if capturing else "not capturing yet",
            "names are there" if named else "names are not listed yet",
            alive.body.decode().strip(),
        ]
        return _answer(capturing and named and alive.status == HTTPStatus.OK, "; ".join(said))


def _answer(well: bool, why: str) -> Answer:
    return Answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n".encode())
