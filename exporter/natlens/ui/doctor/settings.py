"""What the options name: files, a port, sums; each checked as `natlens run` does, none used."""

import os
import socket

from natlens.health import Health
from natlens.identity.settings import identity_settings, uses_kubernetes
from natlens.otlp.metrics.settings import metric_settings
from natlens.telemetry.listen import Place, parse_listen
from natlens.ui.doctor.check import Finding, Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_options"]


def look_at_options(machine: Machine) -> Findings:
    """Tell what is wrong with what the options name."""
    options = machine.options
    identity_settings(options)
    metric_settings(options, machine.environ)
    if options.identity_file and not uses_kubernetes(options, machine.environ):
        yield _identity_file(options.identity_file)
    if options.output:
        yield _output(options.output)
    if options.listen:
        yield _listen(parse_listen(options.listen))
    yield passed("they can be used together")


def _identity_file(path: str) -> Finding:
    from natlens.identity.static import StaticFile  # YAML

    StaticFile(path, Health()).close()
    return passed(f"identity_file {path}: read")


def _output(name: str) -> Finding:
    """Look without making the file, which `natlens run` appends to."""
    place = name if os.path.exists(name) else os.path.dirname(name) or "."  # noqa: PTH110, PTH120  # as text, as given
    if os.access(place, os.W_OK):
        return passed(f"output {name}: can be written")
    return failed(f"output {name}: cannot be written", "give another path, or the right to write there")


def _listen(place: Place) -> Finding:
    """Bind without listening: nobody can connect meanwhile."""
    told = f"listen {place.address or '*'}:{place.port}"
    with socket.socket(socket.AF_INET6 if ":" in place.address else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((place.address, place.port))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            return warned(f"{told}: {why}", "another port, unless a natlens that runs already has it")
    return passed(f"{told}: free")
