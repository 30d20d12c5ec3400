"""Weak points of an evaluation, found by rule in its figures rather than by who reads them."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.result import DecisionLine, Evaluation, PromiseLine
from evaluation.tables import HEADLINE, both_ways, figure, interval, is_baseline

FEWEST_ROWS = 30  # fewer, and an interval of a share can be 0.36 wide
SLACK = 1.5  # a promise of 0.1 whose bound lies at 0.15 is all that some hundred rows can show
SERVED = ("fused", "reranked")
"""What the names of the systems that serve begin with, by stage; the others are references."""

RULES = (
    "A fused or reranked ranking significantly worse than BM25, than one arm, or than the stage "
    "before it; "
    "probabilities whose calibration error is more than chance; decisions whose balanced accuracy "
    f"may be chance; a false-load bound above {SLACK:g} times the promise; fewer than "
    f"{FEWEST_ROWS} rows."
)


def weak_points(evaluation: Evaluation) -> list[str]:
    """One sentence for each breach of `RULES`, those of quality before those of row counts."""
    return [
        *_worse(evaluation),
        *_misjudged(evaluation),
        *_broken_promises(evaluation),
        *_small_sets(evaluation),
    ]


def _worse(evaluation: Evaluation) -> Iterator[str]:
    losses: dict[str, list[str]] = {}
    found = [each for each in both_ways(evaluation.comparisons) if each.verdict == "worse"]
    for each in sorted(found, key=lambda each: not is_baseline(each.other)):
        if _stage(each.one) > _stage(each.other):
            what = f"{each.source} in {each.scope}: {each.one} is worse than {each.other}"
            by = f"{each.metric} {interval(each.difference, sign=True)}"
            losses.setdefault(f"Retrieval, {what}", []).append(by)
    for what, metrics in losses.items():
        yield f"{what} by {', '.join(metrics)}."


def _stage(system: str) -> int:
    """Place in `SERVED` from 1 on; 0 for a reference."""
    return next((place for place, name in enumerate(SERVED, 1) if system.startswith(name)), 0)


def _misjudged(evaluation: Evaluation) -> Iterator[str]:
    for line in evaluation.decisions:
        found = line.report.calibration
        if found.verdict not in ("calibrated", "unknown"):
            yield (
                f"{_decided(line)}: probabilities are {found.verdict}: ECE {figure(found.ece)} "
                f"where chance gives {figure(found.chance)}, on average "
                f"{figure(found.overconfidence, sign=True)} off."
            )
        accuracy = line.report.balanced_accuracy
        if accuracy.low <= 0.5:
            yield f"{_decided(line)}: balanced accuracy {interval(accuracy)} may be chance."


def _decided(line: DecisionLine) -> str:
    return f"Decisions, {line.rows} of {line.source} in {line.scope} by {line.policy}"


def _broken_promises(evaluation: Evaluation) -> Iterator[str]:
    for line in evaluation.promises:
        found = line.false_loads
        if found.negatives and found.bound > line.max_false_load * SLACK:
            yield (
                f"{_promised(line)}: {found.loads} of {found.negatives} negatives loaded, a rate "
                f"of {figure(found.rate)} that may be as high as {figure(found.bound)}."
            )


def _promised(line: PromiseLine) -> str:
    return (
        f"Promise, max_false_load {line.max_false_load:g} over {line.negatives} in {line.scope} "
        f"by {line.policy}"
    )


def _small_sets(evaluation: Evaluation) -> Iterator[str]:
    sizes = [
        (f"Retrieval, {row.source} in {row.scope}", row.metrics["Hit@1"].rows)
        for row in evaluation.retrieval
        if row.standing == HEADLINE
    ]
    sizes += [(_decided(line), line.report.rows) for line in evaluation.decisions]
    sizes += [(_promised(line), line.false_loads.negatives) for line in evaluation.promises]
    for what, rows in dict.fromkeys(sizes):
        if rows < FEWEST_ROWS:
            yield f"{what}: {rows} rows, too few to rest on."
