"""What the pipeline's columns add to Health once a window: translations and names."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.health import Health
from natlens.identity.naming import FourEnds
from natlens.kernel.structs import TranslationSource

__all__ = ["tally_connections", "tally_ends"]

WORDS = ["unknown", "none", *(one.name.lower() for one in TranslationSource if one)]


def tally_connections(connections: npt.NDArray[np.void], health: Health) -> None:
    """Add ``connections_new{translation}``: first records among ``connections`` (dtype CONNECTION).

    A translation's source, ``none`` where conntrack's word was heard and there is none, ``unknown`` where it was not.
    """
    new = connections[connections["sequence"] == 0]
    translated = new["nat"] != Nat.NONE
    heard = new["zone"] >= 0
    codes = np.where(translated, new["nat_source"].astype(np.intp) + 1, heard.astype(np.intp))
    for word, count in zip(WORDS, np.bincount(codes, minlength=len(WORDS)).tolist(), strict=True):
        health.add("connections_new", count, translation=word)


def tally_ends(ends: FourEnds, health: Health) -> None:
    """Add ``identity_ends{kind}``: ends of records by ``k8s.object.kind``, ``unknown`` where nothing was known."""
    kinds: Counter[str] = Counter()
    for role in ends:
        seen = np.bincount(role.codes[role.codes >= 0], minlength=len(role.each)).tolist()
        for end, count in zip(role.each, seen, strict=True):
            if end is not None and count:
                kinds[end.endpoint.k8s_object_kind or "unknown"] += count
    for kind, count in kinds.items():
        health.add("identity_ends", count, kind=kind)
