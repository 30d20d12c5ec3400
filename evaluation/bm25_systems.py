"""BM25 systems: the reference that every other system has to beat.

Both read name, description and body as one text, split into words in the same way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray
from rank_bm25 import BM25Okapi

from core import store
from core.db import read
from evaluation.systems import DEPTH, Bench, Hits, System
from evaluation.types import POOL

K1, B = 1.5, 0.75
"""rank-bm25's own defaults, so that both systems are one ranking function."""

Words = Mapping[int, Sequence[str]]
"""Every word of a skill's text, by live row."""

_WORD = re.compile(r"\w+")


async def words_by_row(bench: Bench) -> Words:
    """The words of every live skill; some 0.1 GB for 20,000 skills."""
    words: dict[int, list[str]] = {}
    async with read(bench.parts.engine) as connection:
        async for batch in store.stream_live_rows(connection, bench.embedder.space):
            for row in batch:
                words[row.row] = split(f"{row.name} {row.description} {row.body}")
    return words


def split(text: str) -> list[str]:
    """The words of a text in lower case, each kept in memory once."""
    return [sys.intern(word) for word in _WORD.findall(text.casefold())]


def rank_bm25(bench: Bench, catalogue: str, words: Words) -> System:
    """Okapi BM25 by rank-bm25 over one catalogue: it takes seconds a query on the whole pool."""
    rows = bench.rows_within(catalogue)
    index = BM25Okapi([words[row] for row in rows], k1=K1, b=B)

    def find(task: str) -> Hits:
        return _best(rows, index.get_scores(split(task)))

    return bench.first_stage("rank-bm25", catalogue, find)


def sparse_bm25(bench: Bench, words: Words) -> System:
    """BM25 by bm25s over the pool, its scores computed ahead (Lù 2024, "BM25S").

    Its method `robertson` orders skills as rank-bm25 does but for words that more than half of
    the skills hold: those weigh nothing here, and there a quarter of the mean idf.
    """
    rows = bench.rows_within(POOL)
    index = bm25s.BM25(method="robertson", k1=K1, b=B)
    index.index([words[row] for row in rows], show_progress=False)

    def find(task: str) -> Hits:
        asked = split(task)
        return _best(rows, index.get_scores(asked)) if asked else []

    return bench.first_stage("bm25s", POOL, find)


def _best(rows: Sequence[int], scores: NDArray[np.floating]) -> Hits:
    """The rows with the highest scores; where those tie, the one that was indexed first."""
    best = np.argsort(-scores, kind="stable")[:DEPTH]
    return [(rows[position], float(scores[position])) for position in best]
