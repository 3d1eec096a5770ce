"""``natlens doctor``: what this machine can do, and what to do where it cannot.

``table.py`` lists the checks; each is a function that yields findings (``check.py``) about a ``Machine``. Checks change
nothing: programs are loaded to try and let go, never attached or pinned; no module is loaded.
"""

from natlens.ui.doctor.command import main

__all__ = ["main"]
