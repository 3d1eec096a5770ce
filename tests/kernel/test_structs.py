"""Structs once: the Python side follows from bpf/types.h, and a new counter or field follows without another edit."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from natlens.kernel import structs

ROOT = Path(__file__).parents[2]


def _generated(object_file: Path) -> str:
    command = [sys.executable, str(ROOT / "bpf/generate_structs.py"), str(object_file)]
    source = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ruff = [str(Path(sys.executable).with_name("ruff")), "format", "-"]
    done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True, cwd=ROOT)
    return str(done.stdout)


def _compiled(copy: Path) -> Path:
    """Compile a copy of bpf/ with the project's own rules."""
    target = copy / "exporter/natlens/kernel/natlens.bpf.o"
    target.parent.mkdir(parents=True)
    (copy / ".cache").mkdir()
    (copy / ".cache/packages").touch()
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "bpf"], cwd=copy, check=True)
    return target


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the tree's bpf/."""
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    return tmp_path


def _loaded(source: str) -> ModuleType:
    module = ModuleType("structs")
    exec(source, module.__dict__)  # noqa: S102  # our own generator's output
    return module


def test_generated_file_is_current(copy: Path) -> None:
    assert _generated(_compiled(copy)) == Path(structs.__file__).read_text()


def test_a_new_counter_is_one_field(copy: Path) -> None:
    types = copy / "bpf/types.h"
    field = "\t__u64 related DOC("
    assert field in types.read_text()
    types.write_text(types.read_text().replace(field, f'\t__u64 rain DOC("it rained");\n{field}'))
    counters = _loaded(_generated(_compiled(copy))).COUNTERS
    assert counters["rain"] == "it rained"
    assert list(counters).index("rain") == list(structs.COUNTERS).index("related")


def test_a_new_field_of_a_row_is_in_its_dtype(copy: Path) -> None:
    types = copy / "bpf/types.h"
    field = "\t__u32 syn_seq DOC("
    assert field in types.read_text()
    types.write_text(types.read_text().replace(field, f'\t__u64 weight DOC("g");\n{field}', 1))
    row = _loaded(_generated(_compiled(copy))).ROW
    assert row["weight"].itemsize == 8
    assert row.itemsize == structs.ROW.itemsize + 8


def test_layouts_have_no_hidden_padding() -> None:
    for name in (
        "TUPLE",
        "ROW_KEY",
        "ROW",
        "RETIRED_KEY",
        "TRANSLATION_KEY",
        "TRANSLATION",
        "FRAGMENT_KEY",
        "FRAGMENT",
    ):
        dtype = getattr(structs, name)
        assert sum(dtype[field].itemsize for field in dtype.names) == dtype.itemsize, name
        assert f"{dtype.itemsize} bytes" in Path(structs.__file__).read_text()
