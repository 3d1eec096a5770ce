"""What compiling with bcc takes, against the headers of the running kernel, else ones made from its BTF."""

import tempfile
from pathlib import Path

import pytest

from natlens.config import Options
from natlens.kernel import loader, programs
from tests.bench.figure import say, tell
from tests.kernel.bcc import REAL_HEADERS, bcc_headers

__all__ = ["compiled"]


def compiled() -> None:
    """Load by bcc once; nothing is said where bcc is not installed."""
    tell(f"bcc, {'real headers' if REAL_HEADERS.exists() else 'headers made from BTF'}")
    with tempfile.TemporaryDirectory() as directory:
        try:
            with bcc_headers(Path(directory)):
                made = programs.load(Options(loader="bcc"))
        except pytest.skip.Exception as why:
            tell(f"left out: {why}")
            return
    assert isinstance(made, loader.Compiled)
    say("bcc_child_peak_mib", made.peak_kib / 1024, "MiB")
    say("bcc_child_s", made.seconds, "s")
    made.close()
