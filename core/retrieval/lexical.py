"""The lexical index: tantivy over three overlapping fields, and how its words are weighed.

Documents and tasks pass through the same `analyse`. Term frequencies are stored, positions and
texts are not: the index only ranks.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from tantivy import (
    Document,
    Filter,
    Index,
    Occur,
    Query,
    Schema,
    SchemaBuilder,
    Searcher,
    TextAnalyzer,
    TextAnalyzerBuilder,
    Tokenizer,
)

from core.retrieval.rows import Mask, Positions
from core.text import without_exclusions
from core.types import IndexRow

# They overlap instead of being boosted: a word of the name counts in all three, one of the
# description in two (docs/decisions/0009).
FIELDS = ("name", "routing", "text")

# A task of 20,000 characters has some 1,200 distinct tokens; the rarest say what it is about.
MAX_TERMS = 48

_K1 = 1.2  # tantivy's own

_POSITION = "position"
_ANALYSER = "loadstar"
_LONGEST_TOKEN = 40
_SMALLEST_HEAP = 15_000_000  # tantivy's own minimum
_BUILD_HEAP = 200_000_000

# Up to here a set of positions inside the query costs less than widening the search:
# 2,000 of 82,803 rows take 10 ms, 10,000 take 23 ms; widening takes 11 ms at 12,800.
_FEW_ROWS = 2_000

# Han, kana and Hangul: scripts whose words no white space parts, or whose words inflect by suffix.
_CJK_RUN = re.compile(
    r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\u1100-\u11ff\uac00-\ud7ff\U00020000-\U0003ffff]+"
)


def lexical_text(text: str) -> str:
    """The text as the tokeniser should see it: NFKC, every CJK run as its overlapping bigrams."""
    if text.isascii():
        return text
    return _CJK_RUN.sub(_bigrams, unicodedata.normalize("NFKC", text))


def _bigrams(run: re.Match[str]) -> str:
    characters = run[0]
    pairs = [characters[i : i + 2] for i in range(max(len(characters) - 1, 1))]
    return f" {' '.join(pairs)} "


def _analyser() -> TextAnalyzer:
    builder = TextAnalyzerBuilder(Tokenizer.simple())
    for step in (
        Filter.remove_long(_LONGEST_TOKEN),
        Filter.lowercase(),
        Filter.ascii_fold(),
        Filter.stopword("english"),
        Filter.stemmer("english"),
    ):
        builder = builder.filter(step)
    return builder.build()


def analyse(text: str) -> list[str]:
    """The tokens of a text in order: lower case, stemmed, without English stop words."""
    return _analyser().analyze(lexical_text(text))


def _schema() -> Schema:
    builder = SchemaBuilder()
    for name in FIELDS:
        builder = builder.add_text_field(name, tokenizer_name=_ANALYSER, index_option="freq")
    return builder.add_unsigned_field(_POSITION, indexed=True, fast=True).build()


def field_texts(row: IndexRow) -> dict[str, str]:
    """What each field of `FIELDS` holds of a row."""
    description = without_exclusions(row.description)
    return {
        "name": row.name,
        "routing": "\n".join((row.name, description, *row.triggers)),
        "text": "\n".join((row.name, description, row.body)),
    }


def idf(documents: int, frequency: NDArray[np.int64]) -> NDArray[np.float64]:
    """BM25's inverse document frequency as tantivy computes it, of each frequency."""
    weights: NDArray[np.float64] = np.log1p((documents - frequency + 0.5) / (frequency + 0.5))
    return weights


def ceiling(idf_by_token: Mapping[str, float]) -> float:
    """About the most that any skill can score: every word in every field, without end."""
    return len(FIELDS) * (_K1 + 1) * sum(idf_by_token.values())


@dataclass(frozen=True, slots=True)
class Term:
    """A token to look for in one field, and what its BM25 score is multiplied by."""

    field: str
    token: str
    boost: float


class WordIndex:
    """One commit of a tantivy index, searchable from any thread."""

    def __init__(self, schema: Schema, searcher: Searcher) -> None:
        self._schema = schema
        self._searcher = searcher
        self.documents = searcher.num_docs

    @classmethod
    def empty(cls) -> WordIndex:
        """An index of no rows."""
        schema = _schema()
        return cls(schema, Index(schema).searcher())

    @classmethod
    def open(cls, folder: Path) -> WordIndex:
        """Map what `WordWriter` wrote into `folder`. Raises ValueError where tantivy cannot.

        The folder may be read-only. tantivy wants to put a lock file beside the files it opens,
        so it is shown links to them; once mapped, it needs their names no more. Should it still
        hold its lock at the end, the links stay behind in the temporary folder.
        """
        with TemporaryDirectory(prefix="loadstar-", ignore_cleanup_errors=True) as links:
            for file in folder.iterdir():
                (Path(links) / file.name).symlink_to(file.resolve())
            index = Index.open(links)
            index.config_reader("manual", 0)  # no thread to watch a folder that never changes
            index.register_tokenizer(_ANALYSER, _analyser())
            index.reload()
            return cls(index.schema, index.searcher())

    def frequencies(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """How many documents hold each token in each field, shape (tokens, fields)."""
        counts = [[self._searcher.doc_freq(name, t) for name in FIELDS] for t in tokens]
        return np.array(counts, dtype=np.int64).reshape(len(tokens), len(FIELDS))

    def search(
        self, terms: Sequence[Term], visible: Mask | None, k: int
    ) -> list[tuple[int, float]]:
        """The k best (position, score) among the visible rows, best first; exact.

        Rows that hold no term are left out. `visible` is None where every row is.
        """
        if not terms or not self.documents:
            return []
        query = Query.boolean_query([(Occur.Should, self._term_query(term)) for term in terms])
        if visible is None:
            return _pairs(*self._top(query, k))
        allowed = np.flatnonzero(visible)
        if len(allowed) <= _FEW_ROWS:
            return _pairs(*self._top(self._within(query, allowed), k))
        return self._widening(query, visible, len(allowed), k)

    def _widening(
        self, query: Query, visible: Mask, allowed: int, k: int
    ) -> list[tuple[int, float]]:
        limit = k + math.ceil(k * self.documents / allowed)
        while True:
            positions, scores = self._top(query, limit)
            kept = visible[positions]
            if np.count_nonzero(kept) >= k or len(positions) < limit:
                return _pairs(positions[kept][:k], scores[kept][:k])
            limit *= 4

    def _term_query(self, term: Term) -> Query:
        query = Query.term_query(self._schema, term.field, term.token, index_option="freq")
        return Query.boost_query(query, term.boost)

    def _within(self, query: Query, allowed: Positions) -> Query:
        among = Query.term_set_query(self._schema, _POSITION, allowed.tolist())
        return Query.boolean_query(
            [(Occur.Must, Query.const_score_query(among, 0.0)), (Occur.Must, query)]
        )

    def _top(self, query: Query, limit: int) -> tuple[Positions, NDArray[np.float64]]:
        # Counting all matches would forbid tantivy to skip blocks that cannot win.
        hits = self._searcher.search(query, limit, count=False).hits
        positions = self._searcher.fast_field_values(_POSITION, [address for _, address in hits])
        return np.array(positions, dtype=np.int64), np.array([score for score, _ in hits])


def _pairs(positions: Positions, scores: NDArray[np.float64]) -> list[tuple[int, float]]:
    return list(zip(positions.tolist(), scores.tolist(), strict=True))


class WordWriter:
    """Writes rows into a tantivy index: a folder of a generation, or memory for a delta.

    For one thread at a time. `documents` counts what was added.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._schema = _schema()
        self._index = Index(self._schema, path=None if folder is None else str(folder))
        self._index.config_reader("manual", 0)
        self._index.register_tokenizer(_ANALYSER, _analyser())
        heap = _SMALLEST_HEAP if folder is None else _BUILD_HEAP
        self._writer = self._index.writer(heap_size=heap, num_threads=1)
        self.documents = 0

    def add(self, rows: Sequence[IndexRow]) -> None:
        """Add rows at the next positions; seen by searches after `commit`."""
        for row in rows:
            document = Document()
            for name, text in field_texts(row).items():
                document.add_text(name, lexical_text(text))
            document.add_unsigned(_POSITION, self.documents)
            self._writer.add_document(document)
            self.documents += 1

    def commit(self) -> WordIndex:
        """A snapshot of all that was added; later additions do not change it."""
        self._writer.commit()
        self._index.reload()
        return WordIndex(self._schema, self._index.searcher())

    def close(self) -> None:
        """Commit, wait for the merges and let go of the folder; the writer cannot add after."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        if self._folder is not None:
            for lock in self._folder.glob("*.lock"):
                lock.unlink()

    def abandon(self) -> None:
        """Drop what was not committed and stop tantivy's threads, which may be writing still."""
        self._writer.rollback()
        self._writer.wait_merging_threads()


def weigh(
    tokens: Sequence[str], indexes: Sequence[WordIndex]
) -> tuple[dict[str, float], list[list[Term]]]:
    """Each distinct token's idf over all indexes together, and each index's terms to search.

    A token counts as frequent as in the field where it is most frequent. Only the `MAX_TERMS`
    rarest tokens that occur at all are searched. BM25 takes its idf from one index alone, which
    makes every word of a small index look common; each boost corrects it to that of all indexes.
    """
    distinct = list(dict.fromkeys(tokens))
    documents = sum(index.documents for index in indexes)
    local = [index.frequencies(distinct) for index in indexes]
    shared = sum(local, np.zeros((len(distinct), len(FIELDS)), dtype=np.int64))
    most = shared.max(axis=1)
    weights = idf(documents, most)
    rarest = [int(i) for i in np.argsort(-weights, kind="stable") if most[i] > 0][:MAX_TERMS]
    corrected = idf(documents, shared)
    terms = [
        [
            Term(name, distinct[i], float(factors[i, column]))
            for i in rarest
            for column, name in enumerate(FIELDS)
            if counts[i, column]
        ]
        for counts, factors in (
            (counts, corrected / idf(index.documents, counts))
            for counts, index in zip(local, indexes, strict=True)
        )
    ]
    return dict(zip(distinct, weights.tolist(), strict=True)), terms
