"""``python -m natlens`` and the ``natlens`` command."""

import sys

from natlens.ui.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
