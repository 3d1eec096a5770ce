"""The options: one model from which file, variables, flags, help, schema and documentation follow.

Precedence: flags, then ``NATLENS_*`` variables, then the file, then defaults. Adding an option is
adding one field to :class:`Options`.
"""

from natlens.config.describe import Option, describe, schema
from natlens.config.effective import effective
from natlens.config.options import Options
from natlens.config.sources import Loaded, load

__all__ = ["Loaded", "Option", "Options", "describe", "effective", "load", "schema"]
