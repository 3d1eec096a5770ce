"""The running kernel's own types (BTF): what it has is looked up by name."""

import ctypes
from pathlib import Path
from typing import Self

from natlens.errors import MissingFeature
from natlens.kernel.libbpf import library

__all__ = ["KernelTypes"]

TYPES = Path("/sys/kernel/btf")
STRUCT, ENUM, FUNCTION = 4, 6, 12


def types_of(module: str) -> Path:
    """Return the file with the BTF of a module, or of ``vmlinux``: not there where the module is not loaded."""
    return TYPES / module


class _Type(ctypes.Structure):
    """``struct btf_type``."""

    _fields_ = (("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


class _Enumerator(ctypes.Structure):
    """``struct btf_enum``."""

    _fields_ = (("name", ctypes.c_uint32), ("value", ctypes.c_int32))


class KernelTypes:
    """BTF of the kernel and its modules; a context manager, because it is some 6 MiB. Needs no privilege."""

    def __init__(self) -> None:
        """Raise MissingFeature where there is none, or no libbpf to read it."""
        self._lib = library()
        self._kernel = self._lib.btf__load_vmlinux_btf()
        if not self._kernel:
            raise MissingFeature("the kernel's BTF cannot be read: is /sys/kernel/btf/vmlinux there?")

    def has_function(self, name: str) -> bool:
        """Tell whether the kernel itself, without modules, has a function."""
        return self.function(name) > 0

    def function(self, name: str) -> int:
        """Return the id of a function of the kernel itself; 0 where it has none."""
        return max(self._find(self._kernel, name, FUNCTION), 0)

    def has_struct(self, name: str) -> bool:
        """Tell whether the kernel itself, without modules, tells what is in a struct."""
        return self._find(self._kernel, name, STRUCT) > 0

    def module_has_function(self, module: str, name: str) -> bool:
        """Tell whether a module is loaded and has a function."""
        return self._in_module(module, name, FUNCTION) > 0

    def module_function(self, module: str, name: str) -> int:
        """Return the id of a function of a module; 0 where it is not loaded or has none."""
        return self._in_module(module, name, FUNCTION)

    def module_has_struct(self, module: str, name: str) -> bool:
        """Tell whether a module is loaded and tells what is in a struct."""
        return self._in_module(module, name, STRUCT) > 0

    def _in_module(self, module: str, name: str, kind: int) -> int:
        # btf__load_module_btf() asks bpf(2) for it, which takes CAP_SYS_ADMIN; the file may be read by all
        found = self._lib.btf__parse_split(str(types_of(module)).encode(), self._kernel)
        if not found:
            return 0
        try:
            return max(self._find(found, name, kind), 0)
        finally:
            self._lib.btf__free(found)

    def has_enumerator(self, enum: str, name: str) -> bool:
        """Tell whether one of the kernel's enums has an enumerator."""
        number = self._find(self._kernel, enum, ENUM)
        if number <= 0:
            return False
        at: int = self._lib.btf__type_by_id(self._kernel, number)
        count = _Type.from_address(at).info & 0xFFFF
        members = (_Enumerator * count).from_address(at + ctypes.sizeof(_Type))
        return any(self._lib.btf__name_by_offset(self._kernel, one.name) == name.encode() for one in members)

    def _find(self, types: int, name: str, kind: int) -> int:
        found: int = self._lib.btf__find_by_name_kind(types, name.encode(), kind)
        return found

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the memory."""
        self._lib.btf__free(self._kernel)
