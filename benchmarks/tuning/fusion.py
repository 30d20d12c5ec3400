"""Fusion: normalisations, weights, left-out skills and the overlap reranker, each a row.

    python -m benchmarks.tuning.fusion --data ../shared/data --index .loadstar/eval-quick

Scores train and calibration rows only, over what the arms themselves return. `--index` is a data
folder with the quick pool indexed.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.settings import AppSettings
from benchmarks.tuning.lexical import rank_bm25, show, texts_of
from benchmarks.tuning.rows import TuningRows, drafts, tuning_rows
from benchmarks.tuning.tables import Cell, Rankings, Result, by_set, cells, scored
from core.retrieval.arms import dense
from core.types import ArmHit, Filters
from evaluation.systems import Bench, open_bench
from evaluation.types import POOL, Place, Split
from reranker.overlap import OverlapReranker
from reranker.pairs import Document

DEPTH = 100  # what the router asks of each arm
RERANKED = 16  # what it reads back
DENSE_WEIGHT = 0.2
OVERLAPS = (0.0, 0.05, 0.1, 0.2, 0.3)
RERANK_WEIGHT = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm says of every skill that either arm returned."""

    scores: Floats  # exact, whether the arm returned the skill or not
    shares: Floats
    returned: NDArray[np.bool_]
    exhausted: bool  # it has no more hits than it returned

    @property
    def ranks(self) -> Floats:
        """From 1, infinite where it did not return the skill."""
        order = np.argsort(np.argsort(-np.where(self.returned, self.scores, -np.inf)))
        return np.where(self.returned, order + 1.0, np.inf)

    def left_out(self, values: Floats, how: str) -> Floats:
        """The values, with those of skills that it did not return as `how` says.

        `zero`, `exact`, or `least`: the last hit's, which is 0 for an arm that is exhausted.
        """
        if how == "exact":
            return values
        held = values[self.returned]
        least = 0.0 if how == "zero" or self.exhausted or not len(held) else float(held.min())
        return np.where(self.returned, values, least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One task's candidates."""

    places: Sequence[Place]
    dense: Arm
    lexical: Arm
    background: float  # mean best similarity of the background queries


Normalise = Callable[[Arm], Floats]
Fuse = Callable[[Found], Floats]


def of_best(how: str) -> Normalise:
    """A score by the arm's best; how the arms were fused before, with `zero`."""

    def normalise(arm: Arm) -> Floats:
        scores = np.maximum(arm.scores, 0.0)
        best = float(scores[arm.returned].max(initial=0.0))
        return arm.left_out(scores / best, how) if best > 0 else np.zeros_like(scores)

    return normalise


def share(how: str) -> Normalise:
    """A score by the most that the arm could give for the task."""
    return lambda arm: arm.left_out(arm.shares, how)


def min_max(arm: Arm) -> Floats:
    """The last hit at 0, the best at 1."""
    held = arm.scores[arm.returned]
    if not len(held):
        return np.zeros_like(arm.scores)
    span = max(float(np.ptp(held)), 1e-9)
    scaled: Floats = (arm.scores - held.min()) / span
    return np.maximum(scaled, 0.0)


def z_score(arm: Arm) -> Floats:
    """Deviations from the mean of the hits; a skill left out counts as the last hit."""
    held = arm.scores[arm.returned]
    if not len(held):
        return np.zeros_like(arm.scores)
    deviations: Floats = (arm.scores - held.mean()) / max(float(held.std()), 1e-9)
    lifted: Floats = np.maximum(deviations, deviations[arm.returned].min())
    return lifted


def reciprocal(k: int) -> Normalise:
    """Reciprocal rank, Cormack, Clarke and Buettcher 2009."""
    return lambda arm: 1 / (k + arm.ranks)


def mixed(normalise: Normalise, dense_weight: float) -> Fuse:
    """The convex combination of both arms, normalised alike."""
    return lambda found: (
        dense_weight * normalise(found.dense) + (1 - dense_weight) * normalise(found.lexical)
    )


def above_background(dense_weight: float) -> Fuse:
    """The cosine from the background up to the best, with the BM25 score by its best."""

    def fuse(found: Found) -> Floats:
        scores = found.dense.left_out(found.dense.scores, "least")
        best = float(scores.max())
        floor = min(found.background, best - 0.05)
        lift = np.maximum(scores - floor, 0.0) / (best - floor)
        return dense_weight * lift + (1 - dense_weight) * of_best("least")(found.lexical)

    return fuse


FORMER = "former: by the best, left out 0, dense 0.5"
CHOSEN = "chosen: share, left out as the last hit, dense 0.2"
WEIGHTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)

FUSIONS: Mapping[str, Fuse] = {
    FORMER: mixed(of_best("zero"), 0.5),
    **{f"the same, dense {w}": mixed(of_best("zero"), w) for w in (0.3, 0.2)},
    **{f"by the best, left out as the last hit, dense {w}": mixed(of_best("least"), w)
       for w in (0.5, 0.4, 0.3, 0.2)},
    **{f"by the best, left out exact, dense {w}": mixed(of_best("exact"), w) for w in (0.4, 0.3)},
    **{f"min-max, dense {w}": mixed(min_max, w) for w in (0.5, 0.4, 0.3, 0.2)},
    **{f"z-score, dense {w}": mixed(z_score, w) for w in (0.5, 0.4, 0.3, 0.2)},
    **{f"reciprocal rank, k = {k}, dense {w}": mixed(reciprocal(k), w)
       for k in (10, 60) for w in (0.5, 0.3)},
    **{f"dense above background, dense {w}": above_background(w) for w in (0.3, 0.2)},
    **{f"share, left out 0, dense {w}": mixed(share("zero"), w) for w in (0.3, 0.2)},
    **{f"share, left out exact, dense {w}": mixed(share("exact"), w) for w in (0.3, 0.2)},
    CHOSEN: mixed(share("least"), DENSE_WEIGHT),
}  # fmt: skip
BY_WEIGHT: Mapping[str, Fuse] = {
    f"share, dense {w}": mixed(share("least"), w) for w in (0.0, *WEIGHTS, 1.0)
}

Task = tuple[Cell, str]
"""A cell and a qid."""


def collect(bench: Bench, rows: TuningRows) -> Iterator[tuple[Task, Found]]:
    """Every task's candidates in every cell; a scope's task is searched once."""
    known: dict[tuple[str, str], Found] = {}
    for cell, queries in cells(rows).items():
        for query in queries:
            if (query.qid, cell[1]) not in known:
                known[query.qid, cell[1]] = _find(bench, query.text, cell[1])
            yield (cell, query.qid), known[query.qid, cell[1]]


def _find(bench: Bench, task: str, scope: str) -> Found:
    filters = Filters() if scope == POOL else Filters(catalogues=(scope,))
    view, lexical = bench.snapshot.view, bench.snapshot.lexical
    every = view.count(filters)
    vector = bench.embedder.embed([task])[0]
    hits = dense(view, vector, filters, every, threads=1)
    words = lexical.search(view, task, filters, every).hits
    candidates = dict.fromkeys(hit.row for hit in (*hits[:DEPTH], *words[:DEPTH]))
    return Found(
        places=[bench.places[row] for row in candidates],
        dense=_arm(hits, list(candidates)),
        lexical=_arm(words, list(candidates)),
        background=float(view.background(filters).mean()),
    )


def _arm(hits: Sequence[ArmHit], rows: Sequence[int]) -> Arm:
    by_row = {hit.row: hit for hit in hits}
    returned = {hit.row for hit in hits[:DEPTH]}
    return Arm(
        scores=np.array([by_row[row].score if row in by_row else 0.0 for row in rows]),
        shares=np.array([by_row[row].share if row in by_row else 0.0 for row in rows]),
        returned=np.array([row in returned for row in rows], dtype=np.bool_),
        exhausted=len(hits) <= DEPTH,
    )


def ranked(found: Mapping[Task, Found], fuse: Fuse) -> Mapping[Cell, Rankings]:
    """Every task's candidates in the order of their fused scores."""
    by_cell: dict[Cell, dict[str, Sequence[Place]]] = {}
    for (cell, qid), one in found.items():
        order = np.argsort(-fuse(one), kind="stable")
        by_cell.setdefault(cell, {})[qid] = [one.places[i] for i in order]
    return by_cell


def reranked(
    found: Mapping[Task, Found],
    fuse: Fuse,
    weight: float,
    tasks: Mapping[str, str],
    documents: Mapping[Place, Document],
) -> Mapping[Cell, Rankings]:
    """The same with the first mixed with word overlap, as the router does."""
    overlap = OverlapReranker()
    by_cell: dict[Cell, dict[str, Sequence[Place]]] = {}
    for (cell, qid), one in found.items():
        scores = fuse(one)
        order = np.argsort(-scores, kind="stable")
        first = order[:RERANKED]
        words = overlap.score(tasks[qid], [documents[one.places[i]] for i in first])
        again = np.argsort(
            -((1 - weight) * scores[first] + weight * np.array(words)), kind="stable"
        )
        order = np.concatenate([first[again], order[RERANKED:]])
        by_cell.setdefault(cell, {})[qid] = [one.places[i] for i in order]
    return by_cell


def alone(found: Mapping[Task, Found], name: str) -> Mapping[Cell, Rankings]:
    """What one arm returns."""

    def only(one: Found) -> Floats:
        arm: Arm = getattr(one, name)
        return np.where(arm.returned, arm.scores, -np.inf)

    return ranked(found, only)


async def collected(rows: TuningRows, index: Path) -> dict[Task, Found]:
    """Every task's candidates over an index."""
    async with open_bench(AppSettings(data_dir=index)) as bench:
        return dict(collect(bench, rows))


def main() -> None:
    """Parse the command line, score every variant, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with skills.jsonl.xz")
    parser.add_argument("--index", type=Path, required=True, help="data folder with the quick pool")
    arguments = parser.parse_args()
    rows = tuning_rows(arguments.data)
    found = asyncio.run(collected(rows, arguments.index))

    def results(fusions: Mapping[str, Fuse]) -> list[Result]:
        return [scored(rows, label, ranked(found, fuse)) for label, fuse in fusions.items()]

    arms = [scored(rows, f"{name} arm alone", alone(found, name)) for name in ("dense", "lexical")]
    fused = results(FUSIONS)
    former, chosen = fused[0], fused[-1]
    show("Fusions", rows, [*arms, *fused], former)

    skills = dict(drafts(arguments.data, rows.pool))
    documents = {
        place: Document(name=draft.name, description=draft.description, body=draft.body)
        for place, draft in skills.items()
    }
    tasks = {query.qid: query.text for query in rows.queries}
    overlaps = [
        scored(rows, f"overlap {w}", reranked(found, FUSIONS[CHOSEN], w, tasks, documents))
        for w in OVERLAPS
    ]
    show("Overlap reranker over the chosen fusion", rows, overlaps, overlaps[0])

    texts = {place: texts_of(draft) for place, draft in skills.items()}
    reference = scored(rows, "rank-bm25, full text", rank_bm25(rows, texts))
    kept = overlaps[OVERLAPS.index(RERANK_WEIGHT)]
    for title, qids in by_split(rows).items():
        print(f"\n## Against rank-bm25, {title}\n")
        print(by_set(rows, [arms[1], chosen, kept], reference, qids), flush=True)
    weighted = results(BY_WEIGHT)
    for title, qids in (by_split(rows) | by_length(rows)).items():
        show(f"Weights, {title}", rows, weighted, chosen, qids)


def by_split(rows: TuningRows) -> dict[str, set[str]]:
    """The qids of each split, and of both."""
    found = {
        f"{split.value} rows": {query.qid for query in rows.queries if query.split is split}
        for split in (Split.TRAIN, Split.CALIBRATION)
    }
    return {**found, "both": set().union(*found.values())}


def by_length(rows: TuningRows) -> dict[str, set[str]]:
    """The qids of short, middling and long tasks."""
    bounds = {"up to 12 words": (0, 12), "13 to 60 words": (13, 60), "over 60 words": (61, 10**6)}
    return {
        title: {q.qid for q in rows.queries if low <= len(q.text.split()) <= high}
        for title, (low, high) in bounds.items()
    }


if __name__ == "__main__":
    main()
