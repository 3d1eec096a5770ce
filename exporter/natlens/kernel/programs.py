"""The compiled programs: put into the kernel, with maps of the size that the options say."""

from pathlib import Path

from natlens.config import Options
from natlens.kernel.controls import prepare
from natlens.kernel.libbpf import Object
from natlens.kernel.probe import Features, require
from natlens.kernel.sources import packets_tell

__all__ = ["load", "opened"]

OBJECT = Path(__file__).with_name("natlens.bpf.o")


def load(options: Options) -> Object:
    """Load programs and maps; nothing is attached. Half a second, most of it the kernel's verifier's.

    Raises MissingCapability, MissingFeature and KernelError.
    """
    require()
    loaded = opened(options.nat_source)
    for index in (0, 1):
        loaded.resize(f"rows_{index}", options.window_rows)
        loaded.resize(f"translations_{index}", options.window_translations)
        loaded.resize(f"retired_{index}", max(options.window_rows // 8, 1))
    prepare(loaded, options)
    loaded.load()
    return loaded


def opened(nat_source: str = "auto") -> Object:
    """Return the object, told what this kernel has and what is wanted, before it is loaded; raises MissingFeature."""
    found, features = Object(OBJECT), Features.probe()
    found.set_constants(".rodata.kernel_functions", bytes([features.packet, features.lookup]))
    found.set_constants(".rodata.learn", bytes([packets_tell(nat_source)]))
    return found
