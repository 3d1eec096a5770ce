"""The static file: read at the start, reread when it changes, kept when it breaks."""

import logging
import os
from pathlib import Path

import pytest

from natlens.errors import IdentityError
from natlens.health import Health
from natlens.identity.static import StaticFile


def pod(name: str) -> str:
    return f"kind: Pod\nmetadata: {{name: {name}}}\nstatus: {{podIP: 10.0.0.1}}\n"


def name(of: StaticFile) -> str | None:
    return of.endpoint("10.0.0.1", 80, 6, 0).k8s_pod_name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "objects.yaml"
    path.write_text(pod("one"))
    return path


def test_unchanged_file_is_not_read_again(file: Path) -> None:
    static = StaticFile(file, Health())
    assert not static.refresh()
    assert name(static) == "one"


def test_file_written_anew_is_read_again(file: Path) -> None:
    static = StaticFile(file, Health())
    file.write_text(pod("two"))  # same size, within one tick of the clock
    assert static.refresh()
    assert name(static) == "two"


def test_file_replaced_is_read_again(file: Path) -> None:
    static = StaticFile(file, Health())
    new = file.with_suffix(".new")
    new.write_text(pod("two"))
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.replace(file)
    assert static.refresh()
    assert name(static) == "two"


def test_swap_of_the_kubelets_symlink_is_seen(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "objects.yaml").write_text(pod(version))
        os.utime(tmp_path / version / "objects.yaml", ns=(1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "objects.yaml").symlink_to("..data/objects.yaml")
    static = StaticFile(tmp_path / "objects.yaml", Health())
    assert not static.refresh()
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert static.refresh()
    assert name(static) == "two"


def test_broken_file_keeps_the_last_good_one_with_one_line_and_a_count(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    static = StaticFile(file, health)
    file.write_text("kind: Pod\nmetadata: {name: 3}\n")
    with caplog.at_level(logging.WARNING):
        assert [static.refresh(), static.refresh(), static.refresh()] == [False, False, False]
    assert name(static) == "one"
    assert health.count("identity_refresh_failed") == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: document 1: Pod (without a name): metadata.name: expected str, got int; correct the field "
        "(the objects read before stay in force)"
    ]
    file.write_text(pod("two"))
    assert static.refresh()
    assert name(static) == "two"


def test_file_that_vanishes_keeps_the_last_good_one(file: Path) -> None:
    health = Health()
    static = StaticFile(file, health)
    file.unlink()
    assert [static.refresh(), static.refresh()] == [False, False]
    assert name(static) == "one"
    assert health.count("identity_refresh_failed") == 1
    file.write_text(pod("two"))
    assert static.refresh()
    assert name(static) == "two"


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"[", b"\x00", b"kind: !!timestamp x", b"kind: !!bool x"])
def test_nothing_that_a_file_may_hold_raises_after_the_start(file: Path, raw: bytes) -> None:
    health = Health()
    static = StaticFile(file, health)
    file.write_bytes(raw)
    assert not static.refresh()
    assert health.count("identity_refresh_failed") == 1


def test_missing_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as error:
        StaticFile(tmp_path / "none.yaml", Health())
    assert str(error.value) == (
        f"{tmp_path}/none.yaml: cannot be read (No such file or directory); check identity_file"
    )


def test_directory_and_fifo_are_errors_and_block_nobody(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="Is a directory"):
        StaticFile(tmp_path, Health())
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(IdentityError, match="is not a regular file; give identity_file a file of objects"):
        StaticFile(tmp_path / "fifo", Health())


def test_not_utf8_at_the_start_is_an_error(file: Path) -> None:
    file.write_bytes(b"kind: \xff")
    with pytest.raises(IdentityError) as error:
        StaticFile(file, Health())
    assert str(error.value) == f"{file}: is not UTF-8 text (byte 6); save it as UTF-8"
