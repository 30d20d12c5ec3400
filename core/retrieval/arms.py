"""The arms: first-stage retrievers over a view, each with filters applied before its top-k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rank_bm25 import BM25Okapi

from core.retrieval.lexical import FIELDS, analyse, ceiling, field_texts, idf, weigh
from core.retrieval.view import View
from core.types import ArmHit, Filters, IndexRow, Vector


def dense(view: View, vector: Vector, filters: Filters, k: int, *, threads: int) -> list[ArmHit]:
    """The k visible skills whose best passage is most similar to `vector`, best first.

    Scores are cosines. Blocks; FAISS uses `threads` threads, which one query cannot share: it
    bounds what the scan may start, and 1 is as fast.
    """
    hits = [
        ArmHit(
            row=int(part.segment.rows.ids[position]),
            score=score,
            share=max(score, 0.0),
            passage=ordinal,
        )
        for part in view.visible(filters)
        if part.count
        for position, ordinal, score in part.segment.passages.search(
            vector, part.passages, k, threads=threads
        )
    ]
    return _best(hits, k)


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalResult:
    """Hits, and how much each of the task's tokens says.

    `idf` holds every distinct analysed token of the task, those that no skill holds included:
    its sum is what a skill with all the task's words would cover.
    """

    hits: list[ArmHit]
    idf: Mapping[str, float]


class LexicalArm(Protocol):
    """Finds skills by the words of the task."""

    def search(self, view: View, task: str, filters: Filters, k: int) -> LexicalResult:
        """The k visible skills that match best, best first; any word may match. Blocks."""
        ...


class TantivyArm:
    """The lexical arm at any size, over the view's own indexes."""

    def search(self, view: View, task: str, filters: Filters, k: int) -> LexicalResult:
        """The k visible skills with the best sum of per-field BM25 scores."""
        idf_by_token, terms = weigh(analyse(task), [segment.words for segment in view.segments])
        most = ceiling(idf_by_token)
        hits = [
            ArmHit(
                row=int(part.segment.rows.ids[position]),
                score=score,
                share=min(score / most, 1.0),
            )
            for part, wanted in zip(view.visible(filters), terms, strict=True)
            if part.count
            for position, score in part.segment.words.search(wanted, part.rows, k)
        ]
        return LexicalResult(hits=_best(hits, k), idf=idf_by_token)


class RankBM25Arm:
    """The lexical arm for small catalogues, by rank-bm25: the reference for `TantivyArm`.

    Holds its rows' tokens in memory, those of all fields as one, and scores every row for every
    task. Never mutated: `extended` makes the next one.
    """

    def __init__(self, tokens: Mapping[int, list[str]]) -> None:
        """`tokens` are the analysed ones by row id; `of` makes them."""
        self._tokens = tokens
        self._rows = np.array(list(tokens), dtype=np.int64)
        self._frequency = Counter(t for held in tokens.values() for t in set(held))
        # BM25Okapi cannot be made of nothing: it divides by the number of tokens.
        self._bm25 = BM25Okapi(list(tokens.values()), k1=1.2, b=0.75) if self._frequency else None

    @classmethod
    def of(cls, rows: Iterable[IndexRow]) -> RankBM25Arm:
        """An arm over these rows."""
        return cls({row.row: _tokens(row) for row in rows})

    def extended(self, rows: Iterable[IndexRow]) -> RankBM25Arm:
        """An arm over these rows too."""
        return RankBM25Arm({**self._tokens, **{row.row: _tokens(row) for row in rows}})

    def search(self, view: View, task: str, filters: Filters, k: int) -> LexicalResult:
        """The k visible skills with the best Okapi BM25 score; rows not held here are not seen."""
        distinct = list(dict.fromkeys(analyse(task)))
        frequency = np.array([self._frequency[token] for token in distinct], dtype=np.int64)
        weights = dict(zip(distinct, idf(len(self._rows), frequency).tolist(), strict=True))
        if self._bm25 is None:
            return LexicalResult(hits=[], idf=weights)
        scores = self._bm25.get_scores(distinct)
        seen = np.concatenate([part.segment.rows.ids[part.mask] for part in view.visible(filters)])
        scores[~np.isin(self._rows, seen)] = 0.0
        most = ceiling(weights) / len(FIELDS)
        hits = [
            ArmHit(
                row=int(self._rows[place]),
                score=float(scores[place]),
                share=min(float(scores[place]) / most, 1.0),
            )
            for place in np.flatnonzero(scores > 0)
        ]
        return LexicalResult(hits=_best(hits, k), idf=weights)


def _tokens(row: IndexRow) -> list[str]:
    return [token for text in field_texts(row).values() for token in analyse(text)]


def _best(hits: Sequence[ArmHit], k: int) -> list[ArmHit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.row))[:k]
