"""How it stands with a resource, for gauges and for whoever reads the log: one line for each change."""

import logging
import time

from natlens.health import Health
from natlens.identity.api.failure import Failure
from natlens.identity.api.reflector import State
from natlens.identity.api.resources import Resource

__all__ = ["Standing"]

log = logging.getLogger(__name__)

WAYS_OUT: dict[str, str] = {
    "forbidden": "allow natlens' ServiceAccount {right}",
    "unauthorized": "check the token or certificate of the kubeconfig or ServiceAccount",
    "connect": "check the server's address, the network and the proxy",
    "tls": "check certificate-authority, tls-server-name and the client's certificate",
    "credentials": "check the kubeconfig or ServiceAccount",
    "timeout": "check the API server and what is between",
}


class Standing:
    """Sets ``identity_synced{resource}`` and ``identity_heard_s{resource}``, and writes what changes."""

    def __init__(self, resource: Resource, server: str, health: Health) -> None:
        self._resource, self._server, self._health = resource, server, health
        self._state: State = "starting"
        self._lost = resource.lost
        self._said: set[str] = set()  # why it is out of step, each with its own way out
        health.set("identity_synced", 0, resource=resource.label)

    def now(self, state: State, failure: Failure | None) -> None:
        """Take the state after a request or an event, and why it failed if it did."""
        if failure is None:
            self._health.set("identity_heard_s", time.time(), resource=self._resource.label)
        code = failure.code if failure is not None and state != "synced" else ""
        if state == self._state and (code not in WAYS_OUT or code in self._said):
            return
        before, self._state = self._state, state
        self._said = set() if state == "synced" else self._said | {code}
        self._health.set("identity_synced", float(state == "synced"), resource=self._resource.label)
        if state == "synced":
            self._lost = "changes are not seen"
            log.log(
                logging.DEBUG if before == "starting" else logging.INFO, "%s: %s", self._resource.label, "in step again"
            )
        elif state == "held":
            log.warning("%s: %s lists none where there were some; asking again", self._resource.label, self._server)
        elif failure is not None:
            self._warn(state, failure)

    def _warn(self, state: State, failure: Failure) -> None:
        way_out = WAYS_OUT.get(state) or WAYS_OUT.get(failure.code) or "natlens goes on trying"
        right = self._resource.right
        log.warning(
            "%s: %s: %s: %s; meanwhile %s; %s",
            self._resource.label,
            self._server,
            failure.code,
            failure.message,
            self._lost,
            way_out.format(right=right),
        )
