"""Queries: how a long task becomes vectors and words.

python -m benchmarks.tuning.queries --data ../data --cache /tmp/tuning

Labelled tasks are short. Long ones are weak positives, few and of few skills, so four made sets
stand beside them as checks of robustness: `joined` 2 or 4 requests of one catalogue, which wants
the skill of each; a request `before` or `behind` a pasted document of another skill.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.passages import Embedded, best, embed, normalised
from benchmarks.tuning.rows import WITHIN
from benchmarks.tuning.texts import packed
from benchmarks.tuning.trial import (
    CATALOGUES,
    SIZE,
    WEAK,
    Bench,
    Judge,
    Outcome,
    Similarities,
    VectorStore,
    Words,
    by_skill,
    hundredths,
    load_bench,
    points,
)
from core.retrieval import lexical
from core.types import Vectors
from evaluation.retrieval_metrics import COVERAGE
from evaluation.types import POOL, Query, catalogue_of

CHUNK = 400  # characters: about 90 tokens of English
PASTED = 900  # characters: about 200 tokens, more than the window of 128
MADE = 300  # tasks of each set and way of making
SEED = 0

Split = Callable[[str], list[str]]

_SENTENCE = re.compile(r"(?<=[.!?。!?])\s+|\n+")


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text; one of fewer than four words joins the one before."""
    found: list[str] = []
    for part in _SENTENCE.split(text.strip()):
        if found and len(part.split()) < 4:
            found[-1] = f"{found[-1]} {part}"
        elif part:
            found.append(part)
    return found or [text]


def chunks(text: str) -> list[str]:
    """Sentences packed up to CHUNK characters; a longer sentence is cut at words."""
    found: list[str] = []
    for sentence in sentences(text):
        for piece in [sentence] if len(sentence) <= CHUNK else sentence.split():
            if found and len(found[-1]) + len(piece) < CHUNK:
                found[-1] = f"{found[-1]} {piece}"
            else:
                found.append(piece[:CHUNK])
    return found or [text]


def first_and_last(text: str) -> list[str]:
    """The first chunk, and the last where there are several."""
    found = chunks(text)
    return found[:1] + found[1:][-1:]


def ends(chars: int) -> Split:
    """A text of more than `chars` characters as its first and last halves of so many."""

    def split(text: str) -> list[str]:
        half = chars // 2
        return [text if len(text) <= chars else f"{text[:half]} {text[-half:]}"]

    return split


@dataclass(frozen=True, eq=False)
class Ways:
    """Every way to compare these tasks with the skills."""

    texts: Sequence[str]
    skills: Embedded
    stores: dict[int, VectorStore]  # by window

    def all(self) -> Iterator[tuple[str, Similarities]]:
        """Each way's name and similarities, the present one first."""
        whole = self._whole(128)
        near = self._near(whole)
        yield "whole, window 128 (present)", near
        for window in (256, 512):
            yield f"whole, window {window}", self._near(self._whole(window))
        for chars in (400, 500, 600):
            yield f"first and last {chars // 2} characters", self._mean(ends(chars))
        for name, split in (("chunks", chunks), ("sentences", sentences)):
            yield f"mean of {name}", self._mean(split)
            nearest = self._max(split)
            yield f"nearest of {name}", nearest
            yield f"nearest of whole and {name}", np.maximum(near, nearest)
            yield f"mean of whole and nearest of {name}", np.float32(0.5) * (near + nearest)
        yield (
            "mean of whole and mean of chunks",
            self._near(normalised(whole + self._mean_vectors(chunks))),
        )
        yield "nearest of first and last chunk", self._max(first_and_last)

    def _whole(self, window: int) -> Vectors:
        return self.stores[window].vectors(self.texts)

    def _near(self, vectors: Vectors) -> Similarities:
        skills = int(self.skills.owner[-1]) + 1
        return best(vectors, self.skills.vectors, self.skills.owner, skills)

    def _pieces(self, split: Split) -> tuple[Vectors, NDArray[np.intp]]:
        """The pieces' vectors, and where each task's begin."""
        pieces = [split(text) for text in self.texts]
        starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        return self.stores[128].vectors([one for piece in pieces for one in piece]), starts

    def _mean_vectors(self, split: Split) -> Vectors:
        vectors, starts = self._pieces(split)
        return normalised(np.add.reduceat(vectors, starts, axis=0))

    def _mean(self, split: Split) -> Similarities:
        return self._near(self._mean_vectors(split))

    def _max(self, split: Split) -> Similarities:
        vectors, starts = self._pieces(split)
        nearest: Similarities = np.maximum.reduceat(self._near(vectors), starts, axis=0)
        return nearest


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a table shows of an outcome: the mean over some queries, and the change of it."""

    title: str
    scope: str
    metric: str
    queries: Sequence[Query]


class Table:
    """Prints outcomes as rows; differences are to the first, fused."""

    def __init__(self, title: str, judge: Judge, columns: Sequence[Column]) -> None:
        self.judge = judge
        self._columns = columns
        self._present: Outcome | None = None
        titles = [f"{column.title} {column.metric}: dense | fused | change" for column in columns]
        print(f"\n{title}\n\n| task | {' | '.join(titles)} |\n|{'---|' * (1 + 3 * len(columns))}")

    def show(self, name: str, similarities: Similarities, words: Words | None = None) -> None:
        """Score and print one row."""
        outcome = self.judge.outcome(name, similarities, words=words)
        present = self._present = self._present or outcome
        fields = [name]
        for column in self._columns:
            where = (column.scope, column.metric, column.queries)
            fields += [points(self.judge.mean(outcome, arm, *where)) for arm in ("dense", "fused")]
            fields.append(hundredths(self.judge.gain(outcome, present, "fused", *where)))
        print(f"| {' | '.join(fields)} |", flush=True)


def real(bench: Bench, skills: Embedded, stores: dict[int, VectorStore]) -> None:
    """The rows as they are, the long ones apart."""
    counts = stores[128].embedder.count_tokens([query.text for query in bench.queries])
    tokens = {query.qid: count for query, count in zip(bench.queries, counts, strict=True)}
    _lengths(bench, tokens)
    judge = Judge(by_skill(bench))
    weak, labelled = judge.chosen(WEAK), judge.chosen()
    over = {least: [q for q in weak if tokens[q.qid] > least] for least in (60, 126)}
    columns = [
        Column(title="within", scope=CATALOGUES, metric="MRR@10", queries=labelled),
        Column(title="pool", scope=POOL, metric="MRR@10", queries=labelled),
        *(
            Column(title=f"weak > {least} ({len(rows)})", scope=POOL, metric=metric, queries=rows)
            for least, rows in over.items()
            for metric in ("MRR@10", "Recall@10")
        ),
    ]
    _every_way("Rows as they are", judge, columns, skills, stores)


def _lengths(bench: Bench, tokens: dict[str, int]) -> None:
    print("| set | rows | median tokens | 90 % | longest | > 126 | > 254 |\n|---|" + "---:|" * 6)
    for source in (*WITHIN, *WEAK):
        found = np.array([tokens[q.qid] for q in bench.queries if q.source == source])
        quantiles = (np.median(found), np.quantile(found, 0.9), found.max())
        counts = (np.sum(found > 126), np.sum(found > 254))
        cells = (source, len(found), *(int(value) for value in (*quantiles, *counts)))
        print(f"| {' | '.join(map(str, cells))} |")


def _every_way(
    title: str,
    judge: Judge,
    columns: Sequence[Column],
    skills: Embedded,
    stores: dict[int, VectorStore],
) -> None:
    texts = [query.text for query in judge.bench.queries]
    table = Table(title, judge, columns)
    ways = Ways(texts, skills, stores).all()
    name, present = next(ways)
    table.show(name, present)
    for name, similarities in ways:
        table.show(name, similarities)
    for terms in (16, 32, 10_000):
        table.show(f"words: {terms} rarest", present, _words(judge.bench, terms))
    for first in (32, 64):
        cut = {q.qid: " ".join(q.text.split()[:first]) for q in judge.bench.queries}
        table.show(f"words: of the first {first}", present, _words(judge.bench, texts=cut))


def _words(
    bench: Bench, terms: int = lexical.MAX_TERMS, texts: dict[str, str] | None = None
) -> Words:
    before, lexical.MAX_TERMS = lexical.MAX_TERMS, terms
    try:
        return {scope: bench.find_words(scope, texts) for scope in (CATALOGUES, POOL)}
    finally:
        lexical.MAX_TERMS = before


def made(bench: Bench, skills: Embedded, stores: dict[int, VectorStore]) -> None:
    """The four made sets, each as a table."""
    for title, tasks, metric in (
        ("Made: joined 2", list(_joined(bench, 2)), COVERAGE),
        ("Made: joined 4", list(_joined(bench, 4)), COVERAGE),
        ("Made: before a document", list(_pasted(bench, before=True)), "MRR@10"),
        ("Made: behind a document", list(_pasted(bench, before=False)), "MRR@10"),
    ):
        made_bench = by_skill(replace(bench, queries=tuple(tasks)))
        columns = [
            Column(title=scope, scope=scope, metric=metric, queries=tasks)
            for scope in (CATALOGUES, POOL)
        ]
        _every_way(title, Judge(made_bench), columns, skills, stores)


def _joined(bench: Bench, needed: int) -> Iterator[Query]:
    """Several requests of a set, each for another skill, as one task."""
    draw = random.Random(SEED)
    group = {q.qid: bench.rows.twins.get(q.relevant[0], q.relevant[0]) for q in bench.queries}
    for source in WITHIN:
        rows = [query for query in bench.queries if query.source == source]
        for number in range(MADE):
            picked: list[Query] = []
            while len({group[query.qid] for query in picked}) < needed:
                picked = draw.sample(rows, needed)
            yield replace(
                picked[0],
                qid=f"{source}-{number}",
                text="\n".join(query.text for query in picked),
                relevant=tuple(query.relevant[0] for query in picked),
            )


def _pasted(bench: Bench, *, before: bool) -> Iterator[Query]:
    """A request with the start of some body of another catalogue pasted to it."""
    draw = random.Random(SEED)
    whole = {query.catalogue for query in bench.queries if query.source in WITHIN}
    documents = [
        draft.body[:PASTED]
        for place, draft in zip(bench.places, bench.drafts, strict=True)
        if len(draft.body) > PASTED and catalogue_of(place) not in whole
    ]
    for source in WITHIN:
        rows = [query for query in bench.queries if query.source == source]
        for query in draw.sample(rows, min(MADE, len(rows))):
            parts = [query.text, draw.choice(documents)]
            yield replace(query, text="\n\n".join(parts if before else reversed(parts)))


def latency(stores: dict[int, VectorStore]) -> None:
    """The time of embedding one task, by its length and how it is cut."""
    print("\n| tokens of the task | 20 | 60 | 120 | 250 | 500 |\n|---|" + "---:|" * 5)
    sizes = (20, 60, 120, 250, 500)
    texts = [" ".join(["Measure this sentence now."] * (size // 5)) for size in sizes]
    for window, store in stores.items():
        times = [_fastest(store, [text]) for text in texts]
        print(f"| whole, window {window} | {' | '.join(f'{ms:.1f} ms' for ms in times)} |")
    for name, split in (("chunks", chunks), ("sentences", sentences)):
        times = [_fastest(stores[128], split(text)) for text in texts]
        print(f"| {name} | {' | '.join(f'{ms:.1f} ms' for ms in times)} |")


def _fastest(store: VectorStore, texts: list[str]) -> float:
    """Milliseconds of the quickest of 30 runs: what others do on the machine left out."""
    found = []
    for _ in range(30):
        started = time.perf_counter()
        store.embedder.embed(texts)
        found.append((time.perf_counter() - started) * 1_000)
    return min(found)


def main() -> None:
    """Read the command line and run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    arguments.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    arguments.add_argument("--size", type=int, default=SIZE, help="skills in the pool")
    options = arguments.parse_args()
    bench = load_bench(options.data, options.cache, options.size)
    stores = {window: VectorStore(options.cache, window) for window in (128, 256, 512)}
    skills = embed(bench, stores[128], packed(1, 600))
    real(bench, skills, stores)
    made(bench, skills, stores)
    latency(stores)


if __name__ == "__main__":
    main()
