"""A crowd of new interfaces: attached to by clsact at once, moved to tcx in the background (ADR 15).

A tcx link waits for a grace period of RCU, a filter does not. While an interface moves both stand on it, and each
packet counts once: ``bpf/crowd.bpf.c`` says how.
"""

import ctypes
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path

from natlens.errors import KernelError
from natlens.kernel import maps
from natlens.kernel.attach import GONE, Attachment, ClsactAttachment, Side, TcxAttachment
from natlens.kernel.libbpf import Object
from natlens.kernel.pinning import Pins

__all__ = ["CrowdAttachment", "choose"]

log = logging.getLogger(__name__)

OBJECT = Path(__file__).with_name("crowd.bpf.o")
KINDS = "ingress_l2", "ingress_l3", "egress_l2", "egress_l3", "egress_port"  # enum kind of crowd.bpf.c
CALM = 12  # interfaces that tcx attaches to within half a second
MOVE_S = 0.2  # how long one call of catch_up works
MOST = 32  # sides that move at once; 256 places in crowd.bpf.c have room for them
MEMBARRIER = {"x86_64": 324, "aarch64": 283, "s390x": 356, "ppc64le": 365, "riscv64": 283}
MEMBARRIER_GLOBAL = 1

Place = tuple[int, Side]


def _grace_period() -> bool:
    """Wait until every program that runs now has ended; False where the kernel does not offer that."""
    number = MEMBARRIER.get(platform.machine())
    return number is not None and ctypes.CDLL(None).syscall(number, MEMBARRIER_GLOBAL, 0, 0) == 0


class CrowdPrograms(Object):
    """What stands in front of the programs while an interface waits, and while it moves."""

    def __init__(self, program_fd: Callable[[str], int]) -> None:
        """Load them; ``program_fd`` tells the programs of natlens.bpf.o. Raises KernelError and MissingFeature."""
        super().__init__(OBJECT)
        try:
            self.load()
            for index, kind in enumerate(KINDS):
                maps.update(self.map_fd("programs"), index, program_fd(kind))
        except KernelError:
            self.close()
            raise
        self.first = {program_fd(kind): self.program_fd(f"first_{kind}") for kind in KINDS}
        self.wait = {program_fd(kind): self.program_fd(f"wait_{kind}") for kind in KINDS}


class CrowdAttachment:
    """tcx links; where many interfaces appear at once, clsact filters until their turn comes."""

    name = "tcx"

    def __init__(self, program_fd: Callable[[str], int]) -> None:
        """Attach nothing; ``program_fd`` tells the programs that :meth:`attach` will be given."""
        self._program_fd = program_fd
        self._tcx, self._clsact = TcxAttachment(), ClsactAttachment()
        self._programs: CrowdPrograms | None = None
        self._possible = False  # with `pin` a program must go on when this process, and its programs' map, are gone
        self._crowd = False
        self._waiting: dict[Place, int] = {}  # and the program that it shall have

    @property
    def batch(self) -> int:
        """To how many interfaces it attaches within half a second."""
        return self._clsact.batch if self._crowd else self._tcx.batch

    def begin(self, pins: Pins) -> None:
        """As :meth:`TcxAttachment.begin`."""
        self._tcx.begin(pins)
        self._possible = not pins.held

    def settle(self) -> None:
        """As :meth:`TcxAttachment.settle`."""
        self._tcx.settle()

    def expect(self, number: int) -> None:
        """Prepare for ``number`` interfaces: are these a crowd?"""
        self._crowd = bool(self._waiting) or (number > CALM and self._possible and self._ready())

    def _ready(self) -> bool:
        if self._programs is None:
            try:
                self._programs = CrowdPrograms(self._program_fd)
                self._clsact.own()
            except KernelError as error:
                self._possible = False
                log.debug("interfaces that appear together are attached to one by one: %s", error)
                return False
        return True

    def attach(self, ifindex: int, side: Side, program_fd: int) -> bool:
        """Attach by what is quick enough; raises OSError (ENODEV where the interface is gone)."""
        if self._crowd and self._programs and self._clsact.attach(ifindex, side, self._programs.wait[program_fd]):
            self._waiting[ifindex, side] = program_fd
            return True
        return self._tcx.attach(ifindex, side, program_fd)

    @property
    def waits(self) -> bool:
        """Whether interfaces wait for their link."""
        return bool(self._waiting)

    def catch_up(self) -> None:
        """Move some that wait.

        A link's attachment waits for a grace period, so every packet meets the link from then on, and the filter may
        go; after one more no packet meets the filter, and the link need not say what it has done.
        """
        if not self._waiting or not self._programs:
            return
        moved: dict[Place, int] = {}
        until = time.monotonic() + MOVE_S
        while self._waiting and len(moved) < MOST and (not moved or time.monotonic() < until):
            place = next(iter(self._waiting))
            program = self._waiting.pop(place)
            try:
                self._tcx.attach(*place, self._programs.first[program])
            except OSError as error:
                if error.errno not in GONE:
                    self._waiting[place] = program
                    raise
            else:
                moved[place] = program
            self._clsact.detach(*place)
        if _grace_period():
            for place, program in moved.items():
                self._tcx.replace(*place, program)

    def detach(self, ifindex: int, side: Side) -> None:
        """Let go; an interface that is gone already is fine."""
        if self._waiting.pop((ifindex, side), None) is None:
            self._tcx.detach(ifindex, side)
        else:
            self._clsact.detach(ifindex, side)

    def stands(self, ifindex: int, side: Side) -> bool:
        """Tell whether what was attached still is."""
        return (self._clsact if (ifindex, side) in self._waiting else self._tcx).stands(ifindex, side)

    def close(self) -> None:
        """Let go of everything, but for what is pinned."""
        self._clsact.close()
        self._tcx.close()
        self._waiting.clear()
        if self._programs:
            self._programs.close()
            self._programs = None


def choose(wanted: str, program_fd: Callable[[str], int]) -> Attachment:
    """Return the attachment for option ``attach``: `auto` takes tcx where the kernel has it.

    Raises KernelError where `tcx` is asked for and the kernel has none.
    """
    if wanted != "clsact" and TcxAttachment.supported(program_fd("ingress_l2")):
        return CrowdAttachment(program_fd)
    if wanted == "tcx":
        raise KernelError("attach: tcx: this kernel has no tcx links (they came with 6.6): use auto or clsact")
    return ClsactAttachment()
