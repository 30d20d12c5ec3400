"""Evaluations made of small rankings and decisions by the real metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from evaluation.bootstrap import compare
from evaluation.decision_metrics import DecisionRow, FalseLoads, false_loads, report
from evaluation.result import (
    Comparison,
    DecisionLine,
    Evaluation,
    PromiseLine,
    Provenance,
    RetrievalRow,
)
from evaluation.retrieval_metrics import score, summarise
from tests.evaluation.rows import a_query, a_run

SCOPE = "acme/skills"
PLACES = [f"{SCOPE}/{number}" for number in range(10)]

PROVENANCE = Provenance(
    command="loadstar eval --queries own.jsonl",
    at="2026-01-02T03:04:05+00:00",
    commit="0123abc-dirty",
    machine={"processor": "x86_64", "cores": "2"},
    data={"own.jsonl": "00ff"},
    split="the file's own",
    split_checksum="",
    skills=10,
    pool="the data folder's own",
    space="hashing-1",
    policy="policy-1",
)

EMPTY = Evaluation(
    provenance=PROVENANCE, retrieval=(), comparisons=(), parts=(), decisions=(), promises=()
)


def good_ranking(right: int, draw: np.random.Generator) -> list[str]:
    """The right place first, nine times in ten."""
    rest = [place for place in PLACES if place != PLACES[right]]
    return [PLACES[right], *rest] if draw.random() < 0.9 else [*rest, PLACES[right]]


def retrieval_of(
    systems: Mapping[str, Callable[[list[str]], list[str]]], *, queries: int = 60
) -> Evaluation:
    """An evaluation of systems that each make something of the same good ranking."""
    draw = np.random.default_rng(0)
    asked = [a_query(f"q{n}", PLACES[n % 10], catalogue=SCOPE) for n in range(queries)]
    ranked = {query.qid: good_ranking(n % 10, draw) for n, query in enumerate(asked)}
    runs = [
        a_run({qid: make(places) for qid, places in ranked.items()}, scope=SCOPE, system=system)
        for system, make in systems.items()
    ]
    scores = [score(asked, run, {}) for run in runs]
    rows = [
        RetrievalRow(
            source="own",
            scope=SCOPE,
            standing="unnamed",
            system=found.system,
            metrics=summarise(found, asked),
            p50_ms=1.0,
            p95_ms=2.0,
            tokens_per_skill=0.0,
        )
        for found in scores
    ]
    baseline, *others = scores
    differences = [
        (other, compare(baseline.by_metric["Hit@1"], other.by_metric["Hit@1"], resamples=500))
        for other in others
    ]
    comparisons = [
        Comparison(
            source="own",
            scope=SCOPE,
            metric="Hit@1",
            one=baseline.system,
            other=other.system,
            difference=difference.interval,
            verdict=difference.verdict,
        )
        for other, difference in differences
    ]
    return replace(EMPTY, retrieval=tuple(rows), comparisons=tuple(comparisons))


def decided(rows: int, given: Callable[[float], float] = lambda p: p) -> list[DecisionRow]:
    """Rows that are useful as often as their true probability says; `given` is what is told."""
    draw = np.random.default_rng(1)
    truth = draw.uniform(size=rows)
    useful = draw.uniform(size=rows) < truth
    return [
        DecisionRow(
            qid=f"q{n}",
            source="own",
            p_useful=given(p),
            decision="load" if given(p) > 0.5 else "none",
            useful=bool(is_useful),
        )
        for n, (p, is_useful) in enumerate(zip(truth.tolist(), useful, strict=True))
    ]


def decisions_of(rows: Sequence[DecisionRow]) -> Evaluation:
    line = DecisionLine(
        rows="present or null",
        source="own",
        scope="catalogues",
        policy="policy-1",
        report=report(rows),
    )
    return replace(EMPTY, decisions=(line,))


def promise_of(loads: int, negatives: int, alpha: float) -> Evaluation:
    rows = [
        DecisionRow(
            qid=f"q{n}",
            source="own",
            p_useful=0.5,
            decision="load" if n < loads else "none",
            useful=False,
        )
        for n in range(negatives)
    ]
    found: FalseLoads = false_loads(rows)
    line = PromiseLine(
        negatives="rows that expect null",
        scope="catalogues",
        policy="policy-1",
        max_false_load=alpha,
        false_loads=found,
        loads_of_useful=float("nan"),
    )
    return replace(EMPTY, promises=(line,))
