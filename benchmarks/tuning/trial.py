"""A trial: one way to find skills by meaning, scored alone and fused with their words."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.rows import WITHIN, TuningRows, drafts, tuning_rows
from core.embedding import CARD_FILE, MODELS, load_embedder
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from core.retrieval.fuse import fuse
from core.retrieval.lexical import WordIndex, WordWriter, analyse, ceiling, weigh
from core.retrieval.rows import Mask
from core.types import ArmHit, Candidate, IndexRow, SkillDraft, Vectors, text_hash
from evaluation.bootstrap import compare
from evaluation.retrieval_metrics import score
from evaluation.types import POOL, Interval, Place, Query, Ranking, Run, Split, catalogue_of
from reranker.learn.batches import index_row
from reranker.policy import load_policy

ENCODER = "minilm-l6-v2"
WEAK = ("skill-prompts",)
"""Prompts whose skill is only where they were found, over the pool. Of skill-prompts-labelled
nothing is scored: it repeats the texts of nvidia."""

CATALOGUES = "catalogues"
"""The scope of each query within its own catalogue, beside POOL."""

DEPTH = 100
"""Skills that each arm returns, as for a route."""

SIZE = 4_000
"""Skills in the pool of a trial: what the rows need, the catalogues of WITHIN, and others."""

Similarities = NDArray[np.float32]
"""Of every query to every skill, shape (queries, skills)."""

Hits = Sequence[ArmHit]


class VectorStore:
    """Vectors of texts cut at one window; each is embedded once and kept on disk as fp16."""

    def __init__(self, cache: Path, window: int = 128) -> None:
        self.window = window
        self.embedder = load_embedder(str(_encoder(cache, window)), threads=2, streams=2)
        self._file = sqlite3.connect(cache / f"vectors-{ENCODER}-{window}.db")
        self._file.execute(
            "create table if not exists vectors (hash blob primary key, tokens int, vector blob)"
        )
        self._known = {
            key: (tokens, np.frombuffer(vector, dtype=np.float16))
            for key, tokens, vector in self._file.execute("select * from vectors")
        }

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Shape (texts, dimension), L2-normalised."""
        self._learn(texts)
        found = np.array([self._known[text_hash(text)][1] for text in texts], dtype=np.float32)
        return found.reshape(len(texts), self.embedder.space.dimension)

    def tokens(self, texts: Sequence[str]) -> int:
        """What the encoder reads of all texts together, marker tokens included."""
        self._learn(texts)
        return sum(self._known[text_hash(text)][0] for text in texts)

    def _learn(self, texts: Sequence[str]) -> None:
        unknown = [t for t in dict.fromkeys(texts) if text_hash(t) not in self._known]
        for start in range(0, len(unknown), 2_048):
            batch = unknown[start : start + 2_048]
            counts = self.embedder.count_tokens(batch)
            vectors = self.embedder.embed(batch).astype(np.float16)
            rows = [
                (text_hash(text), min(count + 2, self.window), vector.tobytes())
                for text, count, vector in zip(batch, counts, vectors, strict=True)
            ]
            for (key, tokens, _), vector in zip(rows, vectors, strict=True):
                self._known[key] = (tokens, vector)
            self._file.executemany("insert or ignore into vectors values (?, ?, ?)", rows)
            self._file.commit()


def _encoder(cache: Path, window: int) -> Path:
    """The shipped encoder with another window, as a folder of links."""
    folder = cache / f"{ENCODER}-{window}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        card = json.loads((MODELS / ENCODER / CARD_FILE).read_text())
        (folder / CARD_FILE).write_text(json.dumps(card | {"max_tokens": window}))
        for name in (ONNX_FILE, TOKENIZER_FILE):
            (folder / name).symlink_to(MODELS / ENCODER / name)
    return folder


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Skills and queries: what no trial changes."""

    rows: TuningRows
    queries: tuple[Query, ...]  # those that do not name their skill
    places: tuple[Place, ...]
    drafts: tuple[SkillDraft, ...]
    words: WordIndex

    def of_scope(self, scope: str) -> list[Query]:
        """The queries that are scored in a scope."""
        return [query for query in self.queries if scope == POOL or query.source in WITHIN]

    def masks(self, scope: str) -> dict[str, Mask | None]:
        """By the catalogue of a query: the skills it is ranked over, None for all."""
        names = {str(query.catalogue) for query in self.of_scope(scope)}
        if scope == POOL:
            return dict.fromkeys(names)
        owners = np.array([catalogue_of(place) for place in self.places])
        return {name: owners == name for name in names}

    def find_words(self, scope: str, texts: Mapping[str, str] | None = None) -> dict[str, Hits]:
        """What the lexical arm finds for each query of a scope, or for its text in `texts`."""
        masks = self.masks(scope)
        found: dict[str, Hits] = {}
        for query in self.of_scope(scope):
            tokens = analyse(texts[query.qid] if texts else query.text)
            weights, (terms,) = weigh(tokens, [self.words])
            most = ceiling(weights)
            found[query.qid] = [
                ArmHit(row=row, score=value, share=min(value / most, 1.0))
                for row, value in self.words.search(terms, masks[str(query.catalogue)], DEPTH)
            ]
        return found


def load_bench(data: Path, cache: Path, size: int = SIZE) -> Bench:
    """Read rows and skills, the skills from `cache` where an earlier trial left them there."""
    rows = tuning_rows(data)
    file = cache / f"drafts-{size}.pickle"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(list(drafts(data, _pool(rows, size)))))
    pairs = [pair for pair in pickle.loads(file.read_bytes()) if pair[1].routable]
    writer = WordWriter()
    writer.add([_index_row(row, place, draft) for row, (place, draft) in enumerate(pairs)])
    return Bench(
        rows=rows,
        queries=tuple(query for source in (*WITHIN, *WEAK) for query in rows.unnamed(source)),
        places=tuple(place for place, _ in pairs),
        drafts=tuple(draft for _, draft in pairs),
        words=writer.commit(),
    )


def by_skill(bench: Bench) -> Bench:
    """The bench with the queries of one skill drawn together, not those of one repository.

    For weak prompts: four of five come from one knot of repositories that mirror one another.
    """
    groups = {q.qid: bench.rows.twins.get(q.relevant[0], q.relevant[0]) for q in bench.queries}
    return replace(bench, rows=replace(bench.rows, components=groups))


def _pool(rows: TuningRows, size: int) -> frozenset[Place]:
    """The part of the quick pool that holds the tuning rows' skills, twins and catalogues."""
    right = {place for query in rows.queries for place in query.relevant}
    groups = {rows.twins[place] for place in right if place in rows.twins}
    whole = {query.catalogue for query in rows.queries if query.source in WITHIN}
    needed = {
        place
        for place in rows.pool
        if place in right or rows.twins.get(place) in groups or catalogue_of(place) in whole
    }
    others = sorted(rows.pool - needed, key=text_hash)
    return frozenset(needed.union(others[: max(0, size - len(needed))]))


def _index_row(row: int, place: Place, draft: SkillDraft) -> IndexRow:
    return index_row(
        row,
        place,
        name=draft.name,
        description=draft.description,
        body=draft.body,
        catalogue=catalogue_of(place),
        triggers=draft.triggers,
    )


Arm = str
"""`dense`, or `fused` with the words."""

Values = Mapping[str, Mapping[str, float]]
"""A metric's value by qid: `values[metric][qid]`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one trial reached."""

    name: str
    tokens: float  # that the encoder reads of each skill
    vectors: float  # that the scan reads of each skill
    values: Mapping[tuple[Arm, str], Values]  # by arm and scope


Words = Mapping[str, Mapping[str, Hits]]
"""What the lexical arm found: `words[scope][qid]`."""


class Judge:
    """Scores trials over one bench, all fused in the same way."""

    def __init__(
        self, bench: Bench, *, weight: float | None = None, words: Words | None = None
    ) -> None:
        """`weight` is the dense arm's, else the policy's; `words` saves searching them again."""
        self.bench = bench
        self.words = words or {scope: bench.find_words(scope) for scope in (CATALOGUES, POOL)}
        shipped = load_policy().arm_weights
        self._weights = shipped if weight is None else {"dense": weight, "lexical": 1 - weight}

    def outcome(
        self,
        name: str,
        similarities: Similarities,
        *,
        inside: Similarities | None = None,
        tokens: float = 0.0,
        vectors: float = 0.0,
        words: Words | None = None,
    ) -> Outcome:
        """Rank every query's skills by `similarities`, and by them fused with `words`.

        `inside` are those for ranking within a catalogue, where they are others.
        """
        by_scope = {CATALOGUES: similarities if inside is None else inside, POOL: similarities}
        values: dict[tuple[Arm, str], Values] = {}
        for scope in (CATALOGUES, POOL):
            dense, lexical = self._nearest(by_scope[scope], scope), (words or self.words)[scope]
            values["dense", scope] = self._values(_rows(dense), scope)
            fused = {
                qid: fuse({"dense": dense[qid], "lexical": lexical[qid]}, self._weights, DEPTH)
                for qid in dense
            }
            values["fused", scope] = self._values(_rows(fused), scope)
        return Outcome(name=name, tokens=tokens, vectors=vectors, values=values)

    def _nearest(self, similarities: Similarities, scope: str) -> dict[str, Hits]:
        masks = self.bench.masks(scope)
        wanted = {query.qid for query in self.bench.of_scope(scope)}
        found: dict[str, Hits] = {}
        for query, row in zip(self.bench.queries, similarities, strict=True):
            if query.qid not in wanted:
                continue
            mask = masks[str(query.catalogue)]
            among = np.arange(len(row)) if mask is None else np.flatnonzero(mask)
            if len(among) > DEPTH:
                among = among[np.argpartition(-row[among], DEPTH)[:DEPTH]]
            nearest = among[np.argsort(-row[among], kind="stable")]
            found[query.qid] = [
                ArmHit(row=place, score=value, share=max(value, 0.0))
                for place, value in zip(nearest.tolist(), row[nearest].tolist(), strict=True)
            ]
        return found

    def _values(self, rows: Mapping[str, Sequence[int]], scope: str) -> Values:
        queries, places = self.bench.of_scope(scope), self.bench.places
        rankings = {
            qid: Ranking(places=tuple(places[row] for row in found), scores=(), latency_ms=0.0)
            for qid, found in rows.items()
        }
        values: dict[str, dict[str, float]] = {}
        for each in [POOL] if scope == POOL else sorted({str(q.catalogue) for q in queries}):
            run = Run(system="trial", scope=each, rankings=rankings)
            for metric, by_qid in score(queries, run, self.bench.rows.twins).by_metric.items():
                values.setdefault(metric, {}).update(by_qid)
        return values

    def chosen(self, sources: Sequence[str] = WITHIN, split: Split | None = None) -> list[Query]:
        """The queries of these sets, of one split or both."""
        return [
            query
            for query in self.bench.queries
            if query.source in sources and split in (None, query.split)
        ]

    def mean(
        self, outcome: Outcome, arm: Arm, scope: str, metric: str, queries: Sequence[Query]
    ) -> float:
        """The mean of the sets' means."""
        values = outcome.values[arm, scope][metric]
        by_source: dict[str, list[float]] = {}
        for query in queries:
            by_source.setdefault(query.source, []).append(values[query.qid])
        return float(np.mean([np.mean(found) for found in by_source.values()]))

    def gain(
        self,
        one: Outcome,
        other: Outcome,
        arm: Arm,
        scope: str,
        metric: str,
        queries: Sequence[Query],
    ) -> Interval:
        """How much higher the mean of the sets' means is; drawn by what is tied together."""
        first, second = one.values[arm, scope][metric], other.values[arm, scope][metric]
        return compare(
            {query.qid: first[query.qid] for query in queries},
            {query.qid: second[query.qid] for query in queries},
            strata={query.qid: query.source for query in queries},
            clusters={query.qid: self.bench.rows.components[query.qid] for query in queries},
            macro=True,
        ).interval


def _rows(hits: Mapping[str, Sequence[ArmHit | Candidate]]) -> dict[str, list[int]]:
    return {qid: [hit.row for hit in found] for qid, found in hits.items()}


def points(value: float) -> str:
    """A share as `.123`."""
    return f"{value:.3f}".removeprefix("0")


def hundredths(interval: Interval) -> str:
    """A difference and its interval in hundredths."""
    return f"{100 * interval.mean:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
