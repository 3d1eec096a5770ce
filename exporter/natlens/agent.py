"""The agent as a process: opens what it needs, runs the pipeline until it is told to stop, leaves no trace."""

import logging
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from natlens.config import Options
from natlens.delivery.settings import read_settings
from natlens.health import Health
from natlens.identity.settings import uses_kubernetes
from natlens.kernel.loader import Compiled
from natlens.kernel.memory import keep_large_arrays_apart
from natlens.kernel.netlink import leave_openssl_out
from natlens.kernel.probe import Features
from natlens.kernel.programs import load

if TYPE_CHECKING:
    from natlens.delivery.outlet import Outlet
    from natlens.exports import Outlets
    from natlens.kernel.libbpf import Object
    from natlens.otlp.request import Signal
    from natlens.pipeline import Names

__all__ = ["run"]

SECOND = 1_000_000_000

log = logging.getLogger(__name__)


def _open_outlets(
    options: Options, health: Health, shown: "Outlet | None", stack: ExitStack
) -> "tuple[Outlets, Outlet | None]":
    """Open where each signal goes, and where natlens' own metrics go.

    An unusable place is an error before anything is attached.
    """
    outlets: dict[Signal, list[Outlet]] = {signal: [] for signal in options.signals}
    if options.output:
        from natlens.delivery.file import FileOutlet  # protobuf's messages and its JSON

        file = FileOutlet(options.output, health)
        stack.callback(file.close)
        for of_signal in outlets.values():
            of_signal.append(file)
    if shown:
        outlets.setdefault("logs", []).append(shown)
        stack.callback(shown.close)
        return outlets, None
    senders = _open_senders(options, health, stack)
    for name in outlets.keys() & senders.keys():
        outlets[name].append(senders[name])
    return outlets, senders.get("metrics")


def _open_senders(options: Options, health: Health, stack: ExitStack) -> "Mapping[Signal, Outlet]":
    """Open a sender for each signal that is wanted and has an endpoint."""
    own: set[Signal] = {"metrics"} if options.telemetry == "on" else set()
    settings = [read_settings(options, os.environ, name) for name in sorted({*options.signals, *own})]
    found = [one for one in settings if one]
    if not found:
        return {}
    for name in set(options.signals) - {one.signal for one in found}:
        log.warning("%s are not sent: neither endpoint nor OTEL_EXPORTER_OTLP_%s_ENDPOINT is set", name, name.upper())
    from natlens.delivery.otlp import open_senders  # libcurl

    senders = open_senders(found, health, queue_bytes=options.queue_bytes)
    for sender in senders.values():
        stack.callback(sender.close)
    return senders


def _open_names(options: Options, health: Health, stack: ExitStack) -> "Names":
    """Open where names come from; an unusable one is an error before anything is attached."""
    from natlens.identity.naming import Anonymous

    names: Names = Anonymous()
    if uses_kubernetes(options, os.environ):
        from natlens.identity.cluster import Cluster  # urllib3, OpenSSL

        names = cluster = Cluster.open(options, health)
        cluster.start()
    elif options.identity_file:
        from natlens.identity.static import StaticFile  # YAML

        names = StaticFile(options.identity_file, health)
    stack.callback(names.close)
    return names


def _load(options: Options, stack: ExitStack) -> "Object":
    loaded = load(options)
    stack.callback(loaded.close)
    return loaded


def _tell_losses(loaded: "Object", source: str) -> None:
    """Log what this kernel cannot do; what another source of NAT stands in for was told when it was chosen."""
    if isinstance(loaded, Compiled):
        for loss in loaded.losses():
            log.warning("%s", loss)
        return
    for finding in Features.probe().findings():
        if not finding.present and (source == "tc" or not finding.name.startswith("NAT ")):
            log.warning("%s; natlens doctor tells more", finding.lost)


def run(options: Options, health: Health, shown: "Outlet | None" = None) -> int:
    """Run the agent until SIGTERM or SIGINT; returns the exit status.

    ``shown`` takes the records in place of the network. Raises NatlensError before anything is attached.
    """
    leave_openssl_out()
    keep_large_arrays_apart()
    with ExitStack() as stack:
        with ThreadPoolExecutor(1) as beside:  # the kernel's verifier takes its time, imports take theirs
            loading = beside.submit(_load, options, stack)
            from natlens.exports import Exports
            from natlens.kernel.account import Account
            from natlens.kernel.capture import Capture
            from natlens.otlp.metrics.settings import metric_settings
            from natlens.pipeline import Pipeline
            from natlens.telemetry.agent import Telemetry

            metrics = metric_settings(options, os.environ)
            telemetry = Telemetry.open(options, health)
            stack.callback(telemetry.close)
            outlets, own = _open_outlets(options, health, shown, stack)
            names = _open_names(options, health, stack)
            loaded = loading.result()
        capture = Capture(options, health, loaded)
        stack.callback(capture.close)
        stack.callback(telemetry.finish)  # it reads the capture's maps
        _tell_losses(loaded, capture.source.name)
        exports = Exports(options, metrics, outlets, health, time.time_ns(), telemetry)
        telemetry.start(own, exports.resource, [Account(loaded)], metrics.temporality)
        pipeline = Pipeline(options, capture, names, exports, health, metrics.interval_ns / SECOND)
        stack.callback(pipeline.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: pipeline.stop()))
        pipeline.run()
    log.info("stopped: %s", " ".join(f"{name}={value:.0f}" for name, value in health.snapshot().items()))
    return 0
