"""The clock: records carry its time, and names are those of a packet's time."""

import ctypes
import os
import struct
import time

from natlens.ui.doctor.check import Findings, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_clock"]

TIMEX_BYTES = 256  # struct timex is 208
TIMEX = struct.Struct("=I4xqqqqi")  # modes, offset, freq, maxerror, esterror, status
UNSYNCHRONISED = 0x40  # STA_UNSYNC
NANOSECONDS = 0x2000  # STA_NANO
TIME_ERROR = 5
WATCHED_S = 0.5
JUMP_S = 0.05
FAR_S = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


def _state() -> tuple[int, int, float]:
    """Return adjtimex(2)'s answer, status bits and greatest error in seconds; nothing is adjusted."""
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)
    answer: int = _libc.adjtimex(buffer)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _modes, _offset, _frequency, greatest_us, _estimated, status = TIMEX.unpack_from(buffer.raw)
    return answer, status, greatest_us / 1e6


def _ahead() -> float:
    return time.time() - time.monotonic()


def look_at_clock(_machine: Machine) -> Findings:
    """Tell whether something keeps it right, and whether it jumps."""
    before = _ahead()
    try:
        answer, status, greatest_s = _state()
    except OSError as error:
        yield warned(f"could not look: adjtimex: {error.strerror}", "check on the host: timedatectl")
    else:
        if status & UNSYNCHRONISED or answer == TIME_ERROR:
            yield warned(
                "not synchronised: times of nodes, and names by time, may disagree",
                "run chrony, ntpd or systemd-timesyncd on the host",
            )
        elif greatest_s > FAR_S:
            yield warned(f"synchronised, but may be {greatest_s:.1f} s wrong", "check the host's NTP servers")
        else:
            yield passed(f"synchronised, right within {greatest_s * 1000:.0f} ms")
    time.sleep(WATCHED_S)
    jump = _ahead() - before
    if abs(jump) > JUMP_S:
        yield warned(f"jumped by {jump:+.3f} s just now", "let NTP slew instead of step; look for two that both set it")
    else:
        yield passed(f"no jump within {WATCHED_S:.1f} s")
