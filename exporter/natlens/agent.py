"""The agent as a process: opens what it needs, runs the pipeline until it is told to stop, leaves no trace."""

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from natlens.config import Options
from natlens.delivery.settings import read_settings
from natlens.health import Health
from natlens.identity.settings import uses_kubernetes
from natlens.kernel.memory import keep_large_arrays_apart
from natlens.kernel.netlink import leave_openssl_out
from natlens.kernel.probe import Features
from natlens.kernel.programs import load

if TYPE_CHECKING:
    from natlens.delivery.outlet import Outlet
    from natlens.kernel.libbpf import Object
    from natlens.pipeline import Names

__all__ = ["run"]

log = logging.getLogger(__name__)


def _open_outlets(options: Options, health: Health, shown: "Outlet | None", stack: ExitStack) -> "list[Outlet]":
    """Open what records go to; an unusable one is an error before anything is attached."""
    outlets: list[Outlet] = [shown] if shown else []
    if options.output:
        from natlens.delivery.file import FileOutlet  # protobuf's messages and its JSON

        outlets.append(FileOutlet(options.output, health))
    settings = None if shown else read_settings(options, os.environ)
    if settings:
        from natlens.delivery.otlp import open_sender  # libcurl

        outlets.append(open_sender(settings, health, queue_bytes=options.queue_bytes))
    for outlet in outlets:
        stack.callback(outlet.close)
    return outlets


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


def _tell_losses() -> None:
    for finding in Features.probe().findings():
        if not finding.present:
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
            outlets = _open_outlets(options, health, shown, stack)
            names = _open_names(options, health, stack)
            from natlens.kernel.capture import Capture
            from natlens.pipeline import Pipeline

            capture = Capture(options, health, loading.result())
        stack.callback(capture.close)
        _tell_losses()
        pipeline = Pipeline(options, capture, names, outlets, health)
        stack.callback(pipeline.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: pipeline.stop()))
        pipeline.run()
    log.info("stopped: %s", " ".join(f"{name}={value:.0f}" for name, value in health.snapshot().items()))
    return 0
