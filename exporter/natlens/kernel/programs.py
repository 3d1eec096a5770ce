"""The compiled programs: put into the kernel, with maps of the size that the options say."""

from pathlib import Path

from natlens.config import Options
from natlens.kernel.libbpf import Object
from natlens.kernel.loader import open_object
from natlens.kernel.probe import require

__all__ = ["OBJECT", "load"]

OBJECT = Path(__file__).with_name("natlens.bpf.o")


def load(options: Options) -> Object:
    """Load programs and maps; nothing is attached. Half a second, most of it the kernel's verifier's.

    Raises MissingCapability, MissingFeature and KernelError.
    """
    require()
    loaded = open_object(options.loader, OBJECT)
    for index in (0, 1):
        loaded.resize(f"rows_{index}", options.window_rows)
        loaded.resize(f"translations_{index}", options.window_translations)
        loaded.resize(f"retired_{index}", max(options.window_rows // 8, 1))
    loaded.load()
    return loaded
