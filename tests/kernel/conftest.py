"""One loaded object a module, its maps of the sizes that the tests of the module need."""

from collections.abc import Callable, Iterator

import pytest

from natlens.kernel import libbpf
from natlens.kernel.programs import opened

Load = Callable[..., libbpf.Object]


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Return what loads the programs: ``load(rows=…, translations=…, retired=…)``."""
    objects: list[libbpf.Object] = []

    def loaded(*, rows: int = 65536, translations: int = 1024, retired: int = 8192) -> libbpf.Object:
        one = opened()
        for index in (0, 1):
            for kind, entries in (("rows", rows), ("translations", translations), ("retired", retired)):
                one.resize(f"{kind}_{index}", entries)
        one.load()
        objects.append(one)
        return one

    yield loaded
    for one in objects:
        one.close()
