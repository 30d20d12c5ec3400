"""BM25 over fields, by counts: scores every skill as tantivy does, for any setting at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.tuning.rows import TuningRows
from benchmarks.tuning.tables import Cell, Rankings, cells
from core.retrieval.lexical import MAX_TERMS, idf
from evaluation.types import POOL, Place, Query, catalogue_of

DEPTH = 200
K1, B = 1.2, 0.75  # tantivy's own, which it lets nobody change

Floats = NDArray[np.float64]
Analyse = Callable[[str], list[str]]

Texts = Mapping[str, str]
"""A skill's texts by part."""


@dataclass(frozen=True, slots=True)
class Field:
    """Parts of a skill that are counted together, and what their score is multiplied by."""

    parts: tuple[str, ...]  # a part that is named n times counts n times
    boost: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How skills are scored; all but the fields is as in the arm by default."""

    fields: tuple[Field, ...]
    merged: bool = False  # BM25F: boosted counts are summed before they saturate
    shared_idf: bool = False  # of the skills that hold the word in any field
    visible: bool = False  # idf over what the filter lets through, rather than the whole index
    idf_power: float = 1.0
    k1: float = K1
    b: float = B
    max_terms: int = MAX_TERMS
    repeats: float = 0.0  # a word that the task says n times weighs n to this power
    common: float = 1.0  # words that more than this share of the visible skills hold are dropped


class Corpus:
    """How often each word of the tasks stands in each part of each skill."""

    def __init__(
        self, skills: Mapping[Place, Texts], queries: Iterable[Query], analysed: Analyse
    ) -> None:
        self.places = list(skills)
        self._catalogues = np.array([catalogue_of(place) for place in skills])
        self.tasks = {query.qid: Counter(analysed(query.text)) for query in queries}
        words = sorted({token for task in self.tasks.values() for token in task})
        self.column = {token: i for i, token in enumerate(words)}
        parts = next(iter(skills.values()))
        self._parts = {
            part: self._counted(analysed(texts[part]) for texts in skills.values())
            for part in parts
        }

    def _counted(self, documents: Iterable[list[str]]) -> tuple[sparse.csr_array, Floats]:
        starts, lengths = [0], list[float]()
        columns, values = list[int](), list[int]()
        for tokens in documents:
            lengths.append(float(len(tokens)))
            found = Counter(token for token in tokens if token in self.column)
            columns += [self.column[token] for token in found]
            values += found.values()
            starts.append(len(columns))
        shape = (len(lengths), len(self.column))
        data = np.array(values, dtype=np.float64)
        return sparse.csr_array((data, columns, starts), shape=shape), np.array(lengths)

    def of(self, parts: Sequence[str]) -> tuple[sparse.csr_array, Floats]:
        """Counts, shape (skills, words), and lengths of these parts as one text."""
        counts = sum((self._parts[part][0] for part in parts[1:]), self._parts[parts[0]][0])
        lengths: Floats = np.sum([self._parts[part][1] for part in parts], axis=0)
        return sparse.csr_array(counts), lengths

    def rows(self, scope: str) -> NDArray[np.int64]:
        """The skills of a scope."""
        return np.flatnonzero((self._catalogues == scope) | (scope == POOL))


def rankings(rows: TuningRows, corpus: Corpus, setting: Setting) -> dict[Cell, Rankings]:
    """The DEPTH best skills for every query of every cell."""
    asked = cells(rows)
    by_scope: dict[str, dict[str, Query]] = {}
    for (_, scope), queries in asked.items():
        by_scope.setdefault(scope, {}).update({query.qid: query for query in queries})
    ranked = {
        scope: rank(corpus, setting, list(queries.values()), scope)
        for scope, queries in by_scope.items()
    }
    return {
        cell: {q.qid: ranked[cell[1]][q.qid] for q in queries} for cell, queries in asked.items()
    }


def rank(corpus: Corpus, setting: Setting, queries: Sequence[Query], scope: str) -> Rankings:
    """The DEPTH best skills of a scope for every query; of equals the first."""
    visible = corpus.rows(scope)
    found = {}
    for query, scores in zip(queries, _scores(corpus, setting, queries, visible), strict=True):
        least = np.partition(scores, -DEPTH)[-DEPTH] if len(scores) > DEPTH else 0.0
        held = np.flatnonzero((scores > 0) & (scores >= least))
        best = held[np.argsort(-scores[held], kind="stable")][:DEPTH]
        found[query.qid] = [corpus.places[visible[i]] for i in best]
    return found


def _scores(
    corpus: Corpus, setting: Setting, queries: Sequence[Query], visible: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Shape (queries, visible)."""
    counted = visible if setting.visible else np.arange(len(corpus.places))
    fields = [(corpus.of(field.parts), field.boost) for field in setting.fields]
    frequencies = [_frequency(counts[counted]) for (counts, _), _ in fields]
    every = sparse.csr_array(sum(counts for (counts, _), _ in fields))
    anywhere = idf(len(counted), _frequency(every[counted])) ** setting.idf_power
    weights = None
    for ((counts, lengths), boost), frequency in zip(fields, frequencies, strict=True):
        norm = 1 - setting.b + setting.b * _stored(lengths) / max(float(lengths.mean()), 1e-9)
        found = counts[visible].tocoo()
        if setting.merged:
            values = boost * found.data / norm[visible][found.row]
        else:
            own = idf(len(counted), frequency) ** setting.idf_power
            saturated = found.data / (found.data + setting.k1 * norm[visible][found.row])
            values = boost * saturated * (anywhere if setting.shared_idf else own)[found.col]
        part = sparse.csr_array((values, (found.row, found.col)), shape=found.shape)
        weights = part if weights is None else weights + part
    weights = sparse.csr_array(weights)
    if setting.merged:
        weights.data /= setting.k1 + weights.data
        weights = weights @ sparse.diags_array(anywhere)
    most = np.max(frequencies, axis=0)
    dropped = _frequency(every[visible]) > setting.common * len(visible)
    asked = _asked(corpus, setting, queries, most, dropped)
    scores: NDArray[np.float32] = (asked @ weights.astype(np.float32).T.tocsr()).toarray()
    return scores


def _asked(
    corpus: Corpus,
    setting: Setting,
    queries: Sequence[Query],
    most: NDArray[np.int64],
    dropped: NDArray[np.bool_],
) -> sparse.csr_array:
    """What each word of each task weighs, shape (queries, words)."""
    asked = sparse.lil_array((len(queries), len(corpus.column)), dtype=np.float32)
    for i, query in enumerate(queries):
        task = corpus.tasks[query.qid]
        known = [token for token in task if most[corpus.column[token]] > 0]
        rarest = sorted(known, key=lambda token: most[corpus.column[token]])
        for token in rarest[: setting.max_terms]:
            if not dropped[corpus.column[token]]:
                asked[i, corpus.column[token]] = task[token] ** setting.repeats
    return asked.tocsr()


def _frequency(counts: sparse.csr_array) -> NDArray[np.int64]:
    """In how many skills each word stands."""
    found: NDArray[np.int64] = np.bincount(counts.indices, minlength=counts.shape[1])
    return found


def _stored(lengths: Floats) -> Floats:
    """Lengths as tantivy keeps them, in one byte: exact to 40, then to four significant bits."""
    table = np.array([_decoded(code) for code in range(256)], dtype=np.float64)
    found: Floats = table[np.searchsorted(table, lengths, side="right") - 1]
    return found


def _decoded(code: int) -> int:
    if code < 24:
        return code
    bits, shift = (code - 24) & 7, ((code - 24) >> 3) - 1
    return 24 + (bits if shift < 0 else (bits | 8) << shift)
