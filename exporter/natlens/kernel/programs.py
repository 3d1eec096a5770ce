"""The compiled programs: put into the kernel, with maps of the size that the options say."""

import logging
from pathlib import Path

from natlens.config import Options
from natlens.errors import KernelError, MissingFeature
from natlens.kernel.controls import prepare
from natlens.kernel.libbpf import Object
from natlens.kernel.loader import Compiled, open_object
from natlens.kernel.memlock import lacking, raise_limit
from natlens.kernel.probe import Features, require
from natlens.kernel.sources import packets_tell

__all__ = ["load", "opened"]

log = logging.getLogger(__name__)

OBJECT = Path(__file__).with_name("natlens.bpf.o")
NO_KFUNCS = Path(__file__).with_name("no_kfuncs.bpf.o")


def load(options: Options) -> Object:
    """Load programs and maps; nothing is attached. Half a second, most of it the kernel's verifier's; by bcc some 10.

    Raises MissingCapability, MissingFeature and KernelError.
    """
    require()
    raise_limit()
    loaded = opened(options)
    try:
        return _load(loaded, options)
    except KernelError as error:
        if limit := lacking():
            raise KernelError(f"{limit} ({error})") from error
        if not (isinstance(loaded, Compiled) and loaded.can_do_without):
            raise
        log.warning("%s; until then packets may not tell of their NAT", error)
    return _load(_told(Object(_compiled()), options), options)


def _load(loaded: Object, options: Options) -> Object:
    for index in (0, 1):
        loaded.resize(f"rows_{index}", options.window_rows)
        loaded.resize(f"translations_{index}", options.window_translations)
        loaded.resize(f"retired_{index}", max(options.window_rows // 8, 1))
    prepare(loaded, options)
    try:
        loaded.load()
    except KernelError:
        loaded.close()
        raise
    return loaded


def opened(options: Options | None = None) -> Object:
    """Return what is to be loaded, told what this kernel has and what is wanted; raises MissingFeature."""
    wanted = options or Options()
    return _told(open_object(wanted.loader, _compiled()), wanted)


def _compiled() -> Path:
    """Return the object for what this process may do: kernel functions of modules take CAP_SYS_ADMIN to be found."""
    try:
        return OBJECT if Features.probe().lookup else NO_KFUNCS
    except MissingFeature:  # no BTF: neither can be used
        return NO_KFUNCS


def _told(found: Object, wanted: Options) -> Object:
    functions = _functions(found)
    found.set_constants(".rodata.kernel_functions", functions)
    found.looks_up = packets_tell(wanted.nat_source) and bool(functions[-1])
    found.set_constants(".rodata.learn", bytes([packets_tell(wanted.nat_source)]))
    return found


def _functions(found: Object) -> bytes:
    """Return a ``struct kernel_functions``."""
    if isinstance(found, Compiled):
        return bytes([found.reads_packet, False, False])
    features = Features.probe()
    return bytes([features.packet, features.cast, features.packet and features.lookup])
