"""For all tests: how long an example takes is no property (a busy machine would fail it)."""

from hypothesis import settings

settings.register_profile("natlens", deadline=None)
settings.load_profile("natlens")
