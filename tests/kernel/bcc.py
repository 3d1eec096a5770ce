"""What tests of bcc need: bcc itself, and headers of the running kernel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natlens.errors import MissingFeature
from natlens.kernel.bcc_process import find_bcc
from tests.kernel.headers import VMLINUX, write_headers

__all__ = ["REAL_HEADERS", "bcc_headers"]

REAL_HEADERS = Path(f"/lib/modules/{os.uname().release}/build")


@contextmanager
def bcc_headers(scratch: Path) -> Iterator[None]:
    """Let bcc find headers of the running kernel: real ones, else ones made from BTF; skips where there is no bcc."""
    try:
        find_bcc()
    except MissingFeature as why:
        pytest.skip(f"bcc: {why}")
    with pytest.MonkeyPatch.context() as patch:
        if not REAL_HEADERS.exists():
            if not VMLINUX.exists():
                pytest.skip("bcc: neither kernel headers nor BTF to make them from")
            patch.setenv("BCC_KERNEL_SOURCE", str(write_headers(scratch / "headers")))
        yield
