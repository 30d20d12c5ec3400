"""Retrieval metrics by ir-measures, with twins of the right skill counted right, once.

Every retrieved place stands for its near_group; the first of a group keeps its rank and later
ones are dropped, so the k of a metric counts groups. Negatives have no retrieval score.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import ir_measures
import numpy as np
from ir_measures import RR, R, Success, nDCG

from evaluation.bootstrap import mean_intervals
from evaluation.types import POOL, Interval, Place, Query, Run, catalogue_of

COVERAGE = "Coverage@10"
MEASURES = {
    "Hit@1": Success @ 1,
    "MRR@10": RR @ 10,
    "nDCG@10": nDCG @ 10,
    "Recall@5": R @ 5,
    "Recall@10": R @ 10,
    "Recall@50": R @ 50,
}
COMPARED = ("Hit@1", "MRR@10", "Recall@50")
"""Metrics of the paired comparisons; each is defined for every query with a right skill."""

METRICS = (*MEASURES, COVERAGE)

Twins = Mapping[Place, str]
"""The near_group of each place that has one."""


class Standing(StrEnum):
    """Why a query's score is reported apart, or that it is not."""

    MAIN = "main"
    TRUNCATED = "truncated"  # the right body is cut in the dump
    NAMES_SKILL = "names_skill"  # the query holds the answer
    WEAK_POSITIVE = "weak_positive"  # nobody said that this skill is the right one


UNNAMED = frozenset({Standing.MAIN, Standing.TRUNCATED})
"""What a headline is made of: a truncated body makes a query harder, not easier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One system's value for every query by metric: `by_metric[metric][qid]`."""

    system: str
    scope: str
    by_metric: Mapping[str, Mapping[str, float]]

    def over(self, metric: str, queries: Iterable[Query]) -> dict[str, float]:
        """The metric's values of those of the queries that it is defined for."""
        values = self.by_metric[metric]
        return {query.qid: values[query.qid] for query in queries if query.qid in values}


def standing(query: Query) -> Standing:
    """Where a query is reported; the gravest of its reasons."""
    if query.names_skill:
        return Standing.NAMES_SKILL
    if query.weak_positive:
        return Standing.WEAK_POSITIVE
    return Standing.TRUNCATED if query.truncated else Standing.MAIN


def score(queries: Iterable[Query], run: Run, twins: Twins) -> Scores:
    """Score a run over its scope: those queries of a catalogue that have a right skill, or all.

    Coverage@10, all needed skills among the first ten, is defined for queries that need several.
    Raises ValueError where the run did not answer a query (nothing found is an empty ranking) or
    ranks a place outside its scope.
    """
    rows = [query for query in queries if query.relevant and run.scope in (POOL, query.catalogue)]
    _check(run, rows)
    needed = {query.qid: {twins.get(place, place) for place in query.relevant} for query in rows}
    ranked = {qid: _groups(run.rankings[qid].places, twins) for qid in needed}
    by_metric = _measured(needed, ranked)
    by_metric[COVERAGE] = {
        qid: float(groups <= set(ranked[qid][:10]))
        for qid, groups in needed.items()
        if len(groups) > 1
    }
    return Scores(system=run.system, scope=run.scope, by_metric=by_metric)


def _check(run: Run, rows: Iterable[Query]) -> None:
    for query in rows:
        if query.qid not in run.rankings:
            raise ValueError(f"{run.system} over {run.scope} did not answer {query.qid!r}")
        for place in run.rankings[query.qid].places:
            if run.scope not in (POOL, catalogue_of(place)):
                raise ValueError(f"{run.system} ranks {place!r}, which is outside {run.scope}")


def _groups(places: Sequence[Place], twins: Twins) -> list[str]:
    return list(dict.fromkeys(twins.get(place, place) for place in places))


def _measured(
    needed: Mapping[str, set[str]], ranked: Mapping[str, Sequence[str]]
) -> dict[str, Mapping[str, float]]:
    by_metric = {metric: dict.fromkeys(needed, 0.0) for metric in MEASURES}
    name_of = {measure: metric for metric, measure in MEASURES.items()}
    # Scores that fall with the rank: the order is the system's own, ties and all.
    run = {
        qid: {group: -float(rank) for rank, group in enumerate(groups)}
        for qid, groups in ranked.items()
        if groups
    }
    qrels = {qid: dict.fromkeys(groups, 1) for qid, groups in needed.items()}
    if run:
        for found in ir_measures.iter_calc(list(name_of), qrels, run):
            by_metric[name_of[found.measure]][found.query_id] = found.value
    return dict(by_metric)


def summarise(
    scores: Scores, queries: Iterable[Query], clusters: Mapping[str, str] | None = None
) -> dict[str, Interval]:
    """The interval of every metric over these queries; drawn by set, and by cluster if given."""
    rows = {query.qid: query.source for query in queries}
    return _intervals(scores, list(MEASURES), rows, clusters) | _intervals(
        scores, [COVERAGE], rows, clusters
    )


def _intervals(
    scores: Scores,
    metrics: Sequence[str],
    sources: Mapping[str, str],
    clusters: Mapping[str, str] | None,
) -> dict[str, Interval]:
    """Intervals of metrics that are defined for the same queries."""
    qids = [qid for qid in scores.by_metric[metrics[0]] if qid in sources]
    values = [[scores.by_metric[metric][qid] for metric in metrics] for qid in qids]
    found = mean_intervals(
        np.reshape(values, (len(qids), len(metrics))),
        strata=[sources[qid] for qid in qids],
        clusters=None if clusters is None else [clusters[qid] for qid in qids],
    )
    return dict(zip(metrics, found, strict=True))


WORDS = (4, 8, 16, 32)
"""Upper ends of the bins of query length, in words; one more bin lies above."""

_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def length_bin(query: Query) -> str:
    """The bin of a query's length in words; two characters of Chinese or Japanese make a word."""
    characters = len(_CJK.findall(query.text))
    words = len(_CJK.sub(" ", query.text).split()) + (characters + 1) // 2
    low = 1
    for high in WORDS:
        if words <= high:
            return f"{low:02}–{high:02} words"
        low = high + 1
    return f"{low:02}+ words"


def needed_skills(query: Query) -> str:
    """How many skills a query needs."""
    return "1 skill" if len(query.relevant) == 1 else f"{len(query.relevant)} skills"


BREAKDOWNS: Mapping[str, Callable[[Query], str]] = {
    "standing": standing,
    "set": lambda query: query.source,
    "length": length_bin,
    "language": lambda query: query.language,
    "needed": needed_skills,
}


def break_down(
    scores: Scores,
    queries: Iterable[Query],
    by: Callable[[Query], str],
    clusters: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Interval]]:
    """Every metric's interval for each part of the queries, the parts in order of name."""
    scored = scores.by_metric["Hit@1"]
    parts: dict[str, list[Query]] = {}
    for query in queries:
        if query.qid in scored:
            parts.setdefault(by(query), []).append(query)
    return {part: summarise(scores, parts[part], clusters) for part in sorted(parts)}
