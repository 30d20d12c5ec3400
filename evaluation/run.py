"""One evaluation: every system over every scope, scored on the rows of one split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import compare
from evaluation.retrieval_metrics import Scores, Standing, Twins, score, standing, summarise
from evaluation.systems import Bench
from evaluation.types import POOL, Interval, Query, Run

BASELINE = "rank-bm25"
FIRST_STAGE = ("lexical", "dense", "fused")

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report: a system over a set of queries within a scope."""

    source: str
    scope: str
    system: str
    metrics: Mapping[str, Interval]
    p50_ms: float
    against: str | None  # the system that `verdict` compares with
    verdict: str | None  # of Hit@1: better, worse or no difference


async def evaluate(
    bench: Bench,
    queries: Sequence[Query],
    twins: Twins,
    clusters: Mapping[str, str],
    *,
    on_step: OnStep,
) -> list[Row]:
    """Score every system within each set's catalogue and over the pool.

    Queries that name their skill, weak positives and negatives are left out. `clusters` names
    what is tied to each query, by qid: many queries of one skill are no independent draws.
    """
    scored = [
        query
        for query in queries
        if query.relevant
        and query.catalogue
        and standing(query) in (Standing.MAIN, Standing.TRUNCATED)
    ]
    rows: list[Row] = []
    for source in sorted({query.source for query in scored}):
        of_source = [query for query in scored if query.source == source]
        for catalogue in sorted({query.catalogue for query in of_source if query.catalogue}):
            inside = [query for query in of_source if query.catalogue == catalogue]
            on_step(f"{source} within {catalogue}")
            runs = [await bench.run_bm25(catalogue, inside)]
            runs += [bench.run(system, catalogue, inside) for system in FIRST_STAGE]
            runs.append(await bench.run_router(catalogue, inside))
            rows += _rows(source, inside, runs, twins, clusters, BASELINE)
        on_step(f"{source} over the pool")
        runs = [bench.run(system, POOL, of_source) for system in FIRST_STAGE]
        runs.append(await bench.run_router(POOL, of_source))
        rows += _rows(source, of_source, runs, twins, clusters, "lexical")
    return rows


def _rows(
    source: str,
    queries: Sequence[Query],
    runs: Sequence[Run],
    twins: Twins,
    clusters: Mapping[str, str],
    baseline: str,
) -> list[Row]:
    scores = {run.system: score(queries, run, twins) for run in runs}
    return [
        Row(
            source=source,
            scope=run.scope,
            system=run.system,
            metrics=summarise(scores[run.system], queries, clusters),
            p50_ms=float(np.median([r.latency_ms for r in run.rankings.values()])),
            against=None if run.system == baseline else baseline,
            verdict=_verdict(scores[run.system], scores[baseline], clusters)
            if run.system != baseline
            else None,
        )
        for run in runs
    ]


def _verdict(one: Scores, other: Scores, clusters: Mapping[str, str]) -> str:
    hits, reference = one.by_metric["Hit@1"], other.by_metric["Hit@1"]
    return compare(hits, reference, clusters={qid: clusters[qid] for qid in hits}).verdict
