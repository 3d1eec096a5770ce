"""What answered a connection, NAT or not."""

import numpy as np

from natlens.identity.ends import Ends
from natlens.otlp.batch import Batch

__all__ = ["responders"]


def responders(batch: Batch) -> Ends:
    """Return of each connection what its destination was translated to, else the destination itself."""
    dialled, became = batch.destination, batch.destination_nat
    codes = np.where(became.codes >= 0, became.codes + len(dialled.each), dialled.codes)
    return Ends(codes, [*dialled.each, *became.each, None])
