"""Names of traces and spans: functions of ``flow.id``, the node and the segment, so that nobody has to agree on them.

With ``m(state, word)`` = :func:`natlens.flows.hashing.mix` and all words unsigned, of 64 bits::

    trace_id = flow.id, its 16 octets; 00…01 where they are all 0 (W3C Trace Context: an id of zeros is invalid)
    key      = m(m(0, first word of trace_id), second word of trace_id)
    span_id  = m(m(key, node), segment), 1 where that is 0
    node     = the first 8 octets, big-endian, of SHA-256 of the node's name in UTF-8

The functions are fixed: a store joins what two releases sent.
"""

from hashlib import sha256

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import mix

__all__ = ["Words", "keys", "node_word", "octets", "span_ids", "trace_words"]

Words = npt.NDArray[np.uint64]


def trace_words(flow_id: Words) -> Words:
    """Return the trace ids of flow ids as two words each, both of shape (n, 2): the first word is the first octets."""
    words = flow_id.copy()
    words[(words == 0).all(axis=1), 1] = 1
    return words


def keys(trace: Words) -> Words:
    """Return a word for each trace (shape (n, 2)): it tells connections apart, and their span ids begin with it."""
    nothing = np.zeros(len(trace), np.uint64)
    return mix(mix(nothing, trace[:, 0]), trace[:, 1])


def node_word(node: str) -> np.uint64:
    """Return a node's name as a word."""
    digest = sha256(node.encode("utf-8", "surrogatepass")).digest()
    return np.uint64(int.from_bytes(digest[:8], "big"))


def span_ids(key: Words, node: np.uint64, segment: Words) -> Words:
    """Return the span ids of segments, shape (n,); never 0."""
    return np.maximum(mix(mix(key, np.full(len(key), node)), segment), np.uint64(1))


def octets(words: Words) -> npt.NDArray[np.uint8]:
    """Return ids as OTLP has them: words of shape (n,) or (n, k) as octets, shape (n, 8 k), most significant first."""
    width = 8 if words.ndim == 1 else 8 * words.shape[1]
    return np.ascontiguousarray(words, ">u8").view(np.uint8).reshape(len(words), width)
