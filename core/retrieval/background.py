"""The background: each catalogue's best similarity to queries that are about no skill.

A large catalogue holds something similar to any query. What a task's best similarity is worth
shows only beside the best that background queries reach among the same skills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.types import IndexRow, Trust, Vectors

Maxima = Mapping[str, NDArray[np.float32]]
"""By catalogue, the best similarity to each background query, shape (queries,)."""

LEAST = -1.0  # a cosine cannot be lower


def maxima(rows: Sequence[IndexRow], vectors: Vectors, queries: Vectors) -> Maxima:
    """The maxima over the rows' passages; `vectors` holds these in order.

    Rows that no default request can see, quarantined or not routable, are left out.
    """
    found: dict[str, NDArray[np.float32]] = {}
    similarity = vectors @ queries.T
    start = 0
    for row in rows:
        end = start + len(row.passages)
        if row.routable and row.trust >= Trust.UNREVIEWED and end > start:
            best = similarity[start:end].max(axis=0)
            found[row.catalogue] = np.maximum(found.get(row.catalogue, best), best)
        start = end
    return found


def merged(one: Maxima, other: Maxima) -> Maxima:
    """The maxima over both."""
    both = dict(one)
    for catalogue, best in other.items():
        both[catalogue] = np.maximum(both.get(catalogue, best), best)
    return both


def table(found: Maxima, catalogues: Sequence[str], queries: int) -> NDArray[np.float16]:
    """The maxima in the order of `catalogues`, shape (catalogues, queries)."""
    rows = np.full((len(catalogues), queries), LEAST, dtype=np.float16)
    for code, catalogue in enumerate(catalogues):
        if catalogue in found:
            rows[code] = found[catalogue]
    return rows
