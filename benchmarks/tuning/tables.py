"""Tables of variants: each scored on every set within its catalogue and over the pool."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.tuning.rows import WITHIN, TuningRows
from evaluation.bootstrap import compare
from evaluation.retrieval_metrics import score
from evaluation.types import POOL, Interval, Place, Query, Ranking, Run

WEAK = "skill-prompts"
POOL_SETS = (*WITHIN, WEAK)
"""Sets that the pool's mean is over: skill-prompts-labelled repeats the texts of nvidia."""

METRICS = ("Hit@1", "MRR@10", "Recall@10", "Recall@50")

Cell = tuple[str, str]
"""A set and a scope, which is a catalogue or POOL."""

Rankings = Mapping[str, Sequence[Place]]
"""Places by qid, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One variant: each metric's value of every query by cell."""

    label: str
    values: Mapping[Cell, Mapping[str, Mapping[str, float]]]  # by cell, metric and qid

    def mean(self, cells: Iterable[Cell], metric: str, qids: set[str]) -> float:
        """Mean over the cells of the metric's mean in each, whatever their sizes; nan: none."""
        means = []
        for cell in cells:
            of_cell = self.values.get(cell, {}).get(metric, {})
            found = [value for qid, value in of_cell.items() if qid in qids]
            if found:
                means.append(sum(found) / len(found))
        return sum(means) / len(means) if means else math.nan


def cells(rows: TuningRows) -> dict[Cell, list[Query]]:
    """Every cell with its headline queries of both splits."""
    found: dict[Cell, list[Query]] = {}
    for source in WITHIN:
        for query in rows.unnamed(source):
            found.setdefault((source, str(query.catalogue)), []).append(query)
    for source in POOL_SETS:
        if queries := rows.unnamed(source):
            found[source, POOL] = queries
    return found


def scored(rows: TuningRows, label: str, rankings: Mapping[Cell, Rankings]) -> Result:
    """Score a variant's rankings in every cell."""
    asked = cells(rows)
    values = {}
    for cell, by_qid in rankings.items():
        ranked = {
            qid: Ranking(places=tuple(places), scores=(), latency_ms=0.0)
            for qid, places in by_qid.items()
        }
        run = Run(system=label, scope=cell[1], rankings=ranked)
        by_metric = score(asked[cell], run, rows.twins).by_metric
        values[cell] = {metric: by_metric[metric] for metric in METRICS}
    return Result(label=label, values=values)


def difference(
    rows: TuningRows,
    one: Result,
    other: Result,
    over: Sequence[Cell],
    metric: str,
    qids: set[str],
) -> Interval:
    """Paired difference of the mean over cells, drawn by what is tied; nan without queries."""
    keyed = {
        f"{cell[0]} {qid}": (cell, qid)
        for cell in over
        if cell in one.values
        for qid in one.values[cell][metric]
        if qid in qids
    }
    return compare(
        {key: one.values[cell][metric][qid] for key, (cell, qid) in keyed.items()},
        {key: other.values[cell][metric][qid] for key, (cell, qid) in keyed.items()},
        strata={key: cell[0] for key, (cell, _) in keyed.items()},
        clusters={key: rows.components[qid] for key, (_, qid) in keyed.items()},
        macro=True,
        resamples=2_000,
    ).interval


def table(
    rows: TuningRows, results: Sequence[Result], present: Result, qids: set[str] | None = None
) -> str:
    """Markdown: Hit@1 within each catalogue, then means over catalogues and over the pool.

    `change` is the MRR@10 over that of `present` with its interval, in hundredths. `qids` are
    the queries to count, all by default.
    """
    counted = {query.qid for query in rows.queries} if qids is None else qids
    inside = [cell for cell in present.values if cell[1] != POOL]
    over = [cell for cell in present.values if cell[1] == POOL]
    head = [
        "variant",
        *(source for source, _ in inside),
        "within Hit@1",
        "MRR@10",
        "change",
        "pool Hit@1",
        "MRR@10",
        "R@10",
        "R@50",
        "change",
    ]
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    for result in results:
        fields = [result.label]
        fields += [_points(result.mean([cell], "Hit@1", counted)) for cell in inside]
        fields += [_points(result.mean(inside, metric, counted)) for metric in METRICS[:2]]
        fields.append(_change(rows, result, present, inside, counted))
        if over:
            fields += [_points(result.mean(over, metric, counted)) for metric in METRICS]
            fields.append(_change(rows, result, present, over, counted))
        lines.append(" | ".join(fields))
    return "\n".join(f"| {line} |" for line in lines)


def by_set(
    rows: TuningRows, results: Sequence[Result], reference: Result, qids: set[str] | None = None
) -> str:
    """Markdown: Hit@1 within each catalogue, each result with its difference to the reference."""
    counted = {query.qid for query in rows.queries} if qids is None else qids
    head = ["set", "tasks", reference.label, *(result.label for result in results)]
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    for cell, values in reference.values.items():
        tasks = len(counted & values["Hit@1"].keys())
        fields = [cell[0], str(tasks), _points(reference.mean([cell], "Hit@1", counted))]
        for result in results:
            found = difference(rows, result, reference, [cell], "Hit@1", counted)
            change = f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
            fields.append(f"{_points(result.mean([cell], 'Hit@1', counted))} ({change})")
        lines.append(" | ".join(fields))
    return "\n".join(f"| {line} |" for line in lines)


def _change(
    rows: TuningRows, one: Result, other: Result, over: Sequence[Cell], qids: set[str]
) -> str:
    """The difference of MRR@10, which a Hit@1 of few clusters is too coarse for."""
    found = difference(rows, one, other, over, "MRR@10", qids)
    if math.isnan(found.mean) or not (found.mean or found.low or found.high):
        return "–"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _points(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".removeprefix("0")
