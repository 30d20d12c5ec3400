"""The segment: rows that are searched together, by every index they need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.retrieval.dense import PassageIndex
from core.retrieval.lexical import WordIndex
from core.retrieval.names import NameIndex
from core.retrieval.rows import RowTable


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Indexes over one row table; all speak of rows by their position in it. Never mutated."""

    rows: RowTable
    passages: PassageIndex
    words: WordIndex
    background: NDArray[np.float16]  # shape (rows.catalogues, background queries)

    @cached_property
    def names(self) -> NameIndex:
        """The rows' names; made when first asked for."""
        return NameIndex(self.rows.names)
