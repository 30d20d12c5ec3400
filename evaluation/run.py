"""One evaluation: every system over every scope, scored, compared and broken down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from evaluation.bm25_systems import Words, rank_bm25, sparse_bm25, words_by_row
from evaluation.bootstrap import Difference, mean_intervals
from evaluation.decisions import decision_lines
from evaluation.description_system import Descriptions, read_descriptions
from evaluation.loco_system import folds_of, loco_systems
from evaluation.prepare import Material
from evaluation.result import Comparison, Evaluation, Part, Provenance, RetrievalRow
from evaluation.retrieval_metrics import (
    BREAKDOWNS,
    COMPARED,
    UNNAMED,
    Scores,
    Standing,
    Twins,
    break_down,
    score,
    standing,
    summarise,
)
from evaluation.skill_sets import set_lines
from evaluation.systems import Bench, System, run
from evaluation.trigger_pairs import trigger_lines
from evaluation.types import POOL, Query, Run
from evaluation.untuned_system import Untuned, read_untuned

BROKEN_DOWN = (
    "rank-bm25",
    "bm25s",
    "lexical",
    "dense-untuned",
    "dense",
    "fused-untuned",
    "fused",
    "reranked",
)

FEWEST_ROWS = 10
"""A set that is spread over catalogues is scored within those that have this many of its rows."""

EVERY_SET, CATALOGUES = "every set", "catalogues"
"""Of comparisons over all sets together."""

HEADLINE = "unnamed"
STANDINGS: Mapping[str, frozenset[Standing]] = {
    HEADLINE: UNNAMED,
    **{each.value: frozenset({each}) for each in Standing},
}

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every system over the queries of one scope."""

    scope: str
    queries: Sequence[Query]
    runs: Sequence[Run]
    scores: Sequence[Scores]  # of the runs, in the same order


async def evaluate(
    bench: Bench, material: Material, provenance: Provenance, folder: Path, *, on_step: OnStep
) -> Evaluation:
    """Everything there is to find out about one indexed data folder.

    `folder` keeps what need not be computed twice. Blocks for minutes; `on_step` hears what of.
    """
    tables = [
        await tabulate(queries, systems, material.twins, on_step=on_step)
        for queries, systems in await _lined_up(bench, material, folder, on_step)
    ]
    decisions, promises = await decision_lines(bench, material, on_step=on_step)
    pairs = await trigger_lines(bench, material, on_step=on_step)
    sets = await set_lines(bench, material, on_step=on_step)
    on_step("intervals and comparisons")
    return Evaluation(
        provenance=provenance,
        retrieval=tuple(row for table in tables for row in rows(table, material.clusters)),
        comparisons=(
            *(row for table in tables for row in comparisons(table, material.clusters)),
            *overall(tables, material.clusters),
        ),
        parts=tuple(parts(tables, material.clusters)),
        decisions=(*decisions, *pairs),
        promises=promises,
        sets=tuple(sets),
        notes=(*material.notes, *(note for table in tables for note in notes(table))),
    )


async def _lined_up(
    bench: Bench, material: Material, folder: Path, on_step: OnStep
) -> list[tuple[list[Query], list[System]]]:
    """The queries of each scope, and the systems that answer them; nothing for negatives alone."""
    asked = [
        query for query in material.queries if query.relevant and query.catalogue not in bench.apart
    ]
    if not asked:
        return []
    on_step("words and descriptions of every skill")
    words = await words_by_row(bench)
    descriptions = await read_descriptions(bench, folder, on_step)
    untuned = None
    within = queries_within(asked, material)
    fitted: Mapping[str, System] = {}
    if material.labelled:
        on_step("passages of every skill under the untuned encoder")
        untuned = await read_untuned(bench, folder, on_step)
        on_step("arm weights, leaving out one catalogue at a time")
        folds = folds_of(material.labelled, bench.rows, material.whole)
        fitted = loco_systems(bench, folds, material.twins)
    lined_up = [
        (queries, _systems(bench, catalogue, words, descriptions, untuned, fitted))
        for catalogue, queries in within.items()
    ]
    return [*lined_up, (asked, _systems(bench, POOL, words, descriptions, untuned, {}))]


def _systems(
    bench: Bench,
    scope: str,
    words: Words,
    descriptions: Descriptions,
    untuned: Untuned | None,
    fitted: Mapping[str, System],
) -> list[System]:
    """The systems of the table, in its order."""
    return [
        sparse_bm25(bench, words) if scope == POOL else rank_bm25(bench, scope, words),
        bench.lexical(scope),
        descriptions.system(bench, scope),
        *(untuned.systems(bench, scope) if untuned else []),
        bench.dense(scope),
        bench.fused(scope, bench.policy.arm_weights),
        *([fitted[scope]] if scope in fitted else []),
        bench.reranked(scope),
    ]


def queries_within(queries: Iterable[Query], material: Material) -> dict[str, list[Query]]:
    """The queries that are scored within a catalogue, by catalogue in order of name.

    A part of a catalogue would be easier than the whole, so it must be whole. Weak positives
    are left to the pool, and so are the few rows that a set has in one of its many catalogues.
    """
    strong = [query for query in queries if query.catalogue and not query.weak_positive]
    homes = Counter((query.source, query.catalogue) for query in strong)
    spread = Counter(source for source, _ in homes)
    found: dict[str, list[Query]] = {}
    for query in strong:
        many = homes[query.source, query.catalogue] >= FEWEST_ROWS
        if query.catalogue in material.whole and (many or spread[query.source] == 1):
            found.setdefault(query.catalogue, []).append(query)
    return dict(sorted(found.items()))


async def tabulate(
    queries: Sequence[Query], systems: Sequence[System], twins: Twins, *, on_step: OnStep
) -> Table:
    """Let each system answer all queries, one after the other, and score it."""
    runs = []
    for system in systems:
        on_step(f"{system.name} over {system.scope}: {len(queries)} queries")
        runs.append(await run(system, queries))
    return Table(
        scope=systems[0].scope,
        queries=queries,
        runs=runs,
        scores=[score(queries, each, twins) for each in runs],
    )


def notes(table: Table) -> list[str]:
    """What the runs have to say of themselves."""
    return [note for each in table.runs for note in each.notes]


def rows(table: Table, clusters: Mapping[str, str]) -> list[RetrievalRow]:
    """A row for each set, standing and system; none for a standing without queries."""
    found = []
    for source, queries in _by_source(table.queries):
        for name, standings in STANDINGS.items():
            asked = [query for query in queries if standing(query) in standings]
            if asked:
                found += [
                    _row(source, name, asked, each, scores, clusters)
                    for each, scores in zip(table.runs, table.scores, strict=True)
                ]
    return found


def _row(
    source: str,
    name: str,
    queries: Sequence[Query],
    answered: Run,
    scores: Scores,
    clusters: Mapping[str, str],
) -> RetrievalRow:
    latencies = [answered.rankings[query.qid].latency_ms for query in queries]
    p50, p95 = np.quantile(latencies, [0.5, 0.95]).tolist()
    return RetrievalRow(
        source=source,
        scope=answered.scope,
        standing=name,
        system=answered.system,
        metrics=summarise(scores, queries, clusters),
        p50_ms=p50,
        p95_ms=p95,
        tokens_per_skill=answered.tokens_per_skill,
    )


def comparisons(table: Table, clusters: Mapping[str, str]) -> list[Comparison]:
    """Every two systems over each set's queries that do not name their skill, paired by query.

    The intervals are those of `bootstrap.compare`; all pairs share one set of draws.
    """
    return [
        found
        for source, queries in _by_source(table.queries)
        for found in _compared(source, table.scope, queries, table.scores, clusters)
    ]


def overall(tables: Sequence[Table], clusters: Mapping[str, str]) -> list[Comparison]:
    """The same over all queries that are scored within a catalogue, there and over the pool.

    Each query counts alike, so that large sets count most, and once if it stands in two sets.
    Systems that are broken down; nothing where there is but one set.
    """
    within = [table for table in tables if table.scope != POOL]
    queries = distinct([query for table in within for query in table.queries])
    if len({query.source for query in queries}) < 2:
        return []
    found = _compared(EVERY_SET, CATALOGUES, queries, _merged(within, CATALOGUES), clusters)
    for table in tables:
        if table.scope == POOL:
            found += _compared(EVERY_SET, POOL, queries, table.scores, clusters)
    return found


def _compared(
    source: str,
    scope: str,
    queries: Sequence[Query],
    scores: Sequence[Scores],
    clusters: Mapping[str, str],
) -> list[Comparison]:
    qids = sorted(query.qid for query in queries if standing(query) in UNNAMED)
    pairs = [(metric, one, other) for metric in COMPARED for one, other in combinations(scores, 2)]
    if not qids or not pairs:
        return []
    values = [
        [one.by_metric[metric][qid] - other.by_metric[metric][qid] for qid in qids]
        for metric, one, other in pairs
    ]
    intervals = mean_intervals(np.array(values).T, clusters=[clusters[qid] for qid in qids])
    return [
        Comparison(
            source=source,
            scope=scope,
            metric=metric,
            one=one.system,
            other=other.system,
            difference=interval,
            verdict=Difference(interval=interval).verdict,
        )
        for (metric, one, other), interval in zip(pairs, intervals, strict=True)
    ]


def parts(tables: Sequence[Table], clusters: Mapping[str, str]) -> list[Part]:
    """Each breakdown of all sets together, within catalogues and over the pool.

    Queries that name their skill and weak positives stand in the breakdown by standing only. A
    query that stands in two sets counts once, but in the breakdown by set.
    """
    within = [table for table in tables if table.scope != POOL]
    pool = [table for table in tables if table.scope == POOL]
    found = []
    for scope, of_scope in (("catalogue", within), (POOL, pool)):
        queries = [query for table in of_scope for query in table.queries]
        unnamed = [query for query in queries if standing(query) in UNNAMED]
        for scores in _merged(of_scope, scope):
            for name, by in BREAKDOWNS.items():
                asked = queries if name == "standing" else unnamed
                asked = asked if name == "set" else distinct(asked)
                found += [
                    Part(by=name, part=part, scope=scope, system=scores.system, metrics=metrics)
                    for part, metrics in break_down(scores, asked, by, clusters).items()
                ]
    return found


def distinct(queries: Sequence[Query]) -> list[Query]:
    """The queries without those that ask the same for the same skills as an earlier one."""
    first = {(query.text, query.relevant): query for query in reversed(queries)}
    return [query for query in queries if first[query.text, query.relevant] is query]


def _merged(tables: Sequence[Table], scope: str) -> list[Scores]:
    """The scores of each system that is broken down, those of all tables in one."""
    by_system: dict[str, list[Scores]] = {}
    for table in tables:
        for scores in table.scores:
            if scores.system in BROKEN_DOWN:
                by_system.setdefault(scores.system, []).append(scores)
    return [
        Scores(
            system=system,
            scope=scope,
            by_metric={
                metric: {
                    qid: value for each in found for qid, value in each.by_metric[metric].items()
                }
                for metric in found[0].by_metric
            },
        )
        for system, found in by_system.items()
    ]


def _by_source(queries: Iterable[Query]) -> list[tuple[str, list[Query]]]:
    found: dict[str, list[Query]] = {}
    for query in queries:
        found.setdefault(query.source, []).append(query)
    return sorted(found.items())
