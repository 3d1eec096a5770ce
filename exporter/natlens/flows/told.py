"""What conntrack's events tell of a window, as the translations that packets would have told.

An event has a time, but packets do not move it: how long an entry was in use follows from the window's rows, within
the entry's life. In a zone no two live entries go by one tuple, so its life says whose rows these are.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.hashing import hash_tuples, mix
from natlens.flows.live import Live
from natlens.flows.match import SLACK_NS, equal
from natlens.flows.tuples import inverse
from natlens.kernel.structs import TranslationSource
from natlens.kernel.windows import TRANSLATIONS, Window

__all__ = ["translations_of"]

NEVER = np.iinfo(np.int64).max
Times = npt.NDArray[np.int64]


def translations_of(
    events: npt.NDArray[np.void], window: Window, live: Live
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Return translations (dtype TRANSLATIONS) of the entries that began in a window or were used in it.

    ``events``: dtype kernel.ctevents.EVENT. Of the connections that ``live`` knows, those with rows here are told of
    again, as later packets would do. Returns also the events to be told again with the next window: the ends of
    what is remembered longer than it lived.
    """
    ends = events["ends"] != 0
    began, known = _began(gather(events, ~ends)), _known(live)
    found = np.concatenate([began, known])
    found["value"]["first_ns"][: len(began)] = _births(window.rows, gather(events, ~ends))
    born = found["value"]["first_ns"].astype(np.int64)
    deaths = gather(events, ends)
    deaths = gather(deaths, np.isin(_names(deaths["key"]), _names(found["key"])))
    died = _deaths(found["key"], born, deaths)
    used = _last_use(window.rows, found["key"], born, died)
    found["value"]["last_ns"] = np.maximum(born, used)
    told = used > 0
    told[: len(began)] = True
    return gather(found, told), deaths


def _began(events: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    found = np.zeros(len(events), TRANSLATIONS)
    found["key"] = events["key"]
    found["value"]["source"] = TranslationSource.CTNETLINK
    return found


def _births(rows: npt.NDArray[np.void], events: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Return when each entry began: with the row of its first packet, where one began in time; else when it was told.

    An event may wait for its reader longer than the connection lasts.
    """
    born = np.zeros(len(events), np.uint64)
    original, reply = (np.ascontiguousarray(events["key"][name]) for name in ("original", "reply"))
    row, at = equal(_hashes(rows), np.concatenate([hash_tuples(original), hash_tuples(inverse(reply))]))
    entry, first = at % max(len(events), 1), rows["value"]["first_ns"][row]
    fits = (first + SLACK_NS >= events["after_ns"][entry]) & (first <= events["at_ns"][entry])
    np.maximum.at(born, entry[fits], first[fits])
    return np.where(born > 0, born, events["at_ns"])


def _known(live: Live) -> npt.NDArray[np.void]:
    """Return the translated connections of the table."""
    at = np.flatnonzero((live["nat_source"] != 0) & (live["zone"] >= 0))
    found = np.zeros(len(at), TRANSLATIONS)
    found["key"]["original"] = gather(live["original"], at)
    found["key"]["reply"] = inverse(gather(live["translated"], at))
    found["key"]["zone"] = live["zone"][at]
    found["value"]["first_ns"] = live["born_ns"][at]
    found["value"]["source"] = live["nat_source"][at]
    return found


def _names(keys: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    original, reply = (np.ascontiguousarray(keys[name]) for name in ("original", "reply"))
    both = mix(hash_tuples(original, 1), hash_tuples(reply, 2))
    return mix(both, keys["zone"].astype(np.uint64))


def _deaths(keys: npt.NDArray[np.void], born: Times, deaths: npt.NDArray[np.void]) -> Times:
    """Return when each entry ended: the first such event of its name after its birth; NEVER where there is none."""
    died = np.full(len(keys), NEVER)
    if not len(deaths):
        return died
    names = np.concatenate([_names(keys), _names(deaths["key"])])
    at = np.concatenate([born, deaths["at_ns"].astype(np.int64)])
    order = np.lexsort((at, names))
    before, after = order[:-1], order[1:]
    pairs = (names[before] == names[after]) & (before < len(keys)) & (after >= len(keys))
    died[before[pairs]] = at[after[pairs]]
    return died


def _last_use(rows: npt.NDArray[np.void], keys: npt.NDArray[np.void], born: Times, died: Times) -> Times:
    """Return when each entry's last packet was seen, no later than its end; 0 where none was."""
    used = np.zeros(len(keys), np.int64)
    original, reply = np.ascontiguousarray(keys["original"]), np.ascontiguousarray(keys["reply"])
    forms = [hash_tuples(form) for form in (original, reply, inverse(original), inverse(reply))]
    row, at = equal(_hashes(rows), np.concatenate(forms))
    entry = at % max(len(keys), 1)
    first, last = (rows["value"][name].astype(np.int64)[row] for name in ("first_ns", "last_ns"))
    inside = (first <= died[entry]) & (last + SLACK_NS >= born[entry])
    np.maximum.at(used, entry[inside], np.minimum(last, died[entry])[inside])
    return used


def _hashes(rows: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    return hash_tuples(np.ascontiguousarray(rows["key"]["tuple"]))
