"""The delta: what changed since a generation was built, private to a process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.retrieval import background
from core.retrieval.dense import passage_vectors
from core.retrieval.generation import Generation, empty_segment
from core.retrieval.lexical import WordWriter
from core.retrieval.rows import RowTable
from core.retrieval.segment import Segment
from core.types import IndexRow, Space, Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Delta:
    """An immutable snapshot: rows added and row ids removed, from the generation or from here.

    Snapshots share one growing lexical index, so only the latest can be extended, by one thread
    at a time; all of them can be searched meanwhile.
    """

    space: Space
    segment: Segment
    removed: NDArray[np.int64]  # row ids, sorted
    background_queries: Vectors  # shape (queries, dimension)

    _maxima: background.Maxima
    _words: WordWriter

    @classmethod
    def empty(cls, generation: Generation) -> Delta:
        """No changes yet to this generation."""
        return cls(
            space=generation.space,
            segment=empty_segment(generation.space, len(generation.background_queries)),
            removed=np.empty(0, dtype=np.int64),
            background_queries=generation.background_queries,
            _maxima={},
            _words=WordWriter(),
        )

    def apply(self, added: Sequence[IndexRow], removed: Iterable[int]) -> Delta:
        """The next snapshot. Applying a change twice does nothing more.

        A removed row never comes back, not even when added after or together: row ids are
        never reused. Raises ValueError on a snapshot that is not the latest.
        """
        tombstones = np.array(sorted(set(removed)), dtype=np.int64)
        removed_from = replace(self, removed=np.union1d(self.removed, tombstones))
        known = set(self.segment.rows.ids.tolist())
        fresh = list({row.row: row for row in added if row.row not in known}.values())
        return removed_from._extended(fresh) if fresh else removed_from

    def _extended(self, rows: Sequence[IndexRow]) -> Delta:
        if self._words.documents != len(self.segment.rows):
            raise ValueError("Only the latest snapshot of a delta can be extended.")
        vectors = passage_vectors(rows, self.space.dimension)
        table = RowTable.concat([self.segment.rows, RowTable.of(rows)])
        maxima = background.merged(
            self._maxima, background.maxima(rows, vectors, self.background_queries)
        )
        passages = self.segment.passages.extended(vectors, table.passage_starts)
        self._words.add(rows)
        segment = Segment(
            rows=table,
            passages=passages,
            words=self._words.commit(),
            background=background.table(maxima, table.catalogues, len(self.background_queries)),
        )
        return replace(self, segment=segment, _maxima=maxima)
