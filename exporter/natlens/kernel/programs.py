"""The compiled programs: put into the kernel, with maps of the size that the options say."""

import logging
from pathlib import Path

from natlens.config import Options
from natlens.errors import KernelError
from natlens.kernel.libbpf import Object
from natlens.kernel.loader import Compiled, open_object
from natlens.kernel.probe import require

__all__ = ["OBJECT", "load"]

log = logging.getLogger(__name__)

OBJECT = Path(__file__).with_name("natlens.bpf.o")


def load(options: Options) -> Object:
    """Load programs and maps; nothing is attached. Half a second, most of it the kernel's verifier's; by bcc some 10.

    Raises MissingCapability, MissingFeature and KernelError.
    """
    require()
    loaded = open_object(options.loader, OBJECT)
    try:
        return _load(loaded, options)
    except KernelError as error:
        if not (isinstance(loaded, Compiled) and loaded.can_do_without):
            raise
        log.warning("%s; until then packets may not tell of their NAT", error)
    return _load(Object(OBJECT), options)


def _load(loaded: Object, options: Options) -> Object:
    for index in (0, 1):
        loaded.resize(f"rows_{index}", options.window_rows)
        loaded.resize(f"translations_{index}", options.window_translations)
        loaded.resize(f"retired_{index}", max(options.window_rows // 8, 1))
    try:
        loaded.load()
    except KernelError:
        loaded.close()
        raise
    return loaded
