"""Programs that are loaded once for every lab of a process: under emulation the kernel's verifier takes seconds."""

import msgspec
import numpy as np

from natlens.config import Options
from natlens.kernel import maps
from natlens.kernel.libbpf import Object
from natlens.kernel.pinning import WINDOWS
from natlens.kernel.probe import VMLINUX_BTF
from natlens.kernel.programs import load
from natlens.kernel.structs import COUNTERS

__all__ = ["lend"]

COUNTED = np.dtype([("key", np.uint32), ("value", np.uint8)])
ELSEWHERE = {"attach": "auto", "exclude_interfaces": []}  # options that programs do not know

_free: dict[bytes, Object] = {}


def lend(options: Options) -> Object:
    """Return loaded programs with empty maps; closed they are only given back. Whoever comes meanwhile gets others."""
    name = msgspec.json.encode(msgspec.structs.replace(options, **ELSEWHERE)) + bytes([VMLINUX_BTF.exists()])
    one = _free.pop(name, None) or load(options)

    def give_back() -> None:
        _free[name] = one

    one.close = give_back  # type: ignore[method-assign]
    for kind, entry in WINDOWS.items():
        for index in (0, 1):
            maps.read_and_delete(one.map_fd(f"{kind}_{index}"), entry)
    maps.read_and_delete(one.map_fd("counted_interfaces"), COUNTED)
    maps.update(one.map_fd(".data.window"), 0, 0)
    maps.put(one.map_fd("counters"), bytes(4), bytes(8 * len(COUNTERS) * maps.possible_cpus()))
    return one
