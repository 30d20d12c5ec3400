"""Decision metrics: whether the probability means something and the decision serves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.bootstrap import mean_interval
from evaluation.types import Interval

LOADS = frozenset({"load"})
OFFERS = frozenset({"load", "consider"})
BINS = 10
SIMULATIONS = 1_000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What a system decided for one query, and whether a skill there would have helped."""

    qid: str
    source: str
    p_useful: float
    decision: str  # load, consider or none
    useful: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityPoint:
    """One bin of a calibration curve."""

    predicted: float  # mean probability
    observed: float  # share that was useful
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far the probabilities are from what happened; all nan where there are no rows."""

    ece: float  # mean |predicted - observed| over the bins, by rows
    chance: float  # the ECE that a calibrated system stays below 95 times in 100
    brier: float
    overconfidence: float  # mean probability less the share that was useful
    points: tuple[ReliabilityPoint, ...]

    @property
    def verdict(self) -> str:
        """`calibrated`, or how the errors lean where they are more than chance; or `unknown`.

        Then `overconfident` or `underconfident` if most of the error goes that way, and
        `miscalibrated` if it goes both ways.
        """
        if not self.points:
            return "unknown"
        if self.ece <= self.chance:
            return "calibrated"
        if abs(self.overconfidence) <= self.ece / 2:
            return "miscalibrated"
        return "overconfident" if self.overconfidence > 0 else "underconfident"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """Share of wrong loads among the surest tasks, for a growing share of tasks served."""

    coverage: Floats  # shape (rows,), rising to 1
    risk: Floats  # shape (rows,)
    area: float  # mean risk over all coverages (AURC; Geifman and El-Yaniv 2019)


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseLoads:
    """Loads where nothing would have helped."""

    rate: float  # nan where there are no negatives
    bound: float  # one-sided 95 % upper bound (Clopper and Pearson 1934)
    loads: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReport:
    """Every figure of one system over one set of rows."""

    rows: int
    useful: int
    balanced_accuracy: Interval  # load against the rest
    balanced_accuracy_offer: Interval  # load or consider against none
    auroc: float
    auroc_interval: Interval
    calibration: Calibration
    risk_coverage: RiskCoverage
    false_loads: FalseLoads


def report(
    rows: Sequence[DecisionRow],
    *,
    bins: int = BINS,
    clusters: Sequence[str] | None = None,
    strata: Sequence[str] | None = None,
) -> DecisionReport:
    """All decision metrics over these rows.

    Balanced accuracy is the mean over `strata` where they are named, its interval drawn by
    `clusters`; the other figures count every row alike.
    """
    p, useful = _arrays(rows)
    return DecisionReport(
        rows=len(rows),
        useful=int(useful.sum()),
        balanced_accuracy=balanced_accuracy(rows, LOADS, clusters=clusters, strata=strata),
        balanced_accuracy_offer=balanced_accuracy(rows, OFFERS, clusters=clusters, strata=strata),
        auroc=auroc(p, useful),
        auroc_interval=auroc_interval(p, useful, clusters),
        calibration=calibration(p, useful, bins=bins),
        risk_coverage=risk_coverage(p, useful),
        false_loads=false_loads(rows),
    )


def balanced_accuracy(
    rows: Sequence[DecisionRow],
    acts: Collection[str],
    *,
    clusters: Sequence[str] | None = None,
    strata: Sequence[str] | None = None,
) -> Interval:
    """Mean of the shares decided right among useful and useless rows, at the system's decision.

    `acts` are the decisions that count as acting. With `strata` (of each row) it is the mean of
    their balanced accuracies, whatever their sizes. All nan where a stratum lacks either kind.
    """
    cells = list(zip(strata or [""] * len(rows), (row.useful for row in rows), strict=True))
    if not rows or len(set(cells)) < 2 * len({stratum for stratum, _ in cells}):
        return Interval(mean=np.nan, low=np.nan, high=np.nan, rows=len(rows))
    right = [float((row.decision in acts) == row.useful) for row in rows]
    kinds = [f"{stratum} {useful}" for stratum, useful in cells]
    return mean_interval(right, strata=kinds, clusters=clusters, macro=True)


def auroc(p: Floats, useful: Bools) -> float:
    """Chance that a useful row has the higher probability, a tie counting half; nan if one kind."""
    positives = int(useful.sum())
    negatives = len(useful) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(p)
    above = ranks[useful].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def auroc_interval(
    p: Floats, useful: Bools, clusters: Sequence[str] | None, *, seed: int = 0
) -> Interval:
    """`auroc` with its 95 % percentile interval over resampled clusters; nan if one kind."""
    nan = float("nan")
    whole = auroc(p, useful)
    if np.isnan(whole):
        return Interval(mean=nan, low=nan, high=nan, rows=len(p))
    member = np.unique(clusters or np.arange(len(p)), return_inverse=True)[1]
    rows = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(SIMULATIONS):
        picked = np.concatenate([rows[n] for n in random.integers(len(rows), size=len(rows))])
        drawn.append(auroc(p[picked], useful[picked]))
    low, high = np.nanquantile(drawn, [0.025, 0.975]).tolist()
    return Interval(mean=whole, low=low, high=high, rows=len(p))


def calibration(p: Floats, useful: Bools, *, bins: int = BINS, seed: int = 0) -> Calibration:
    """Expected calibration error over bins of equal mass, its chance level, and Brier's score.

    Equal probabilities share a bin, so there may be fewer than `bins`. ECE is above zero for
    calibrated systems too; `chance` is found by drawing labels from `p` itself.
    """
    if not len(p):
        nan = float("nan")
        return Calibration(ece=nan, chance=nan, brier=nan, overconfidence=nan, points=())
    member = _bins(p, bins)
    sizes = np.bincount(member)
    predicted = np.bincount(member, p) / sizes
    observed = np.bincount(member, useful) / sizes
    return Calibration(
        ece=float(np.abs(predicted - observed) @ sizes / len(p)),
        chance=_chance(p, member, np.random.default_rng(seed)),
        brier=float(np.mean((p - useful) ** 2)),
        overconfidence=float(np.mean(p) - np.mean(useful)),
        points=tuple(
            ReliabilityPoint(predicted=float(x), observed=float(y), rows=int(n))
            for x, y, n in zip(predicted, observed, sizes, strict=True)
        ),
    )


def _bins(p: Floats, bins: int) -> NDArray[np.intp]:
    """The bin of each row, numbered from 0 without gaps; ties go to the bin of their middle."""
    middle = (stats.rankdata(p) - 0.5) / len(p)
    return np.unique(np.floor(middle * bins), return_inverse=True)[1]


def _chance(p: Floats, member: NDArray[np.intp], random: np.random.Generator) -> float:
    """95th percentile of the ECE of labels that are drawn from `p` (Bröcker and Smith 2007)."""
    in_bin = np.eye(member.max() + 1)[member]
    drawn = random.random((SIMULATIONS, len(p))) < p
    surplus = (drawn - p) @ in_bin
    return float(np.quantile(np.abs(surplus).sum(axis=1) / len(p), 0.95))


def risk_coverage(p: Floats, useful: Bools) -> RiskCoverage:
    """Serve tasks from the surest on; among equal probabilities the wrong ones come evenly."""
    if not len(p):
        return RiskCoverage(coverage=np.zeros(0), risk=np.zeros(0), area=float("nan"))
    _, tie, size = np.unique(-p, return_inverse=True, return_counts=True)
    wrong = np.bincount(tie, ~useful) / size  # share within each tie, the surest tie first
    served = np.arange(1, len(p) + 1)
    risk = np.cumsum(np.repeat(wrong, size)) / served
    return RiskCoverage(coverage=served / len(p), risk=risk, area=float(risk.mean()))


def false_loads(rows: Sequence[DecisionRow]) -> FalseLoads:
    """How often the system loads where nothing helps; the bound is 1 without negatives."""
    negatives = [row for row in rows if not row.useful]
    loads = sum(row.decision in LOADS for row in negatives)
    rest = len(negatives) - loads
    return FalseLoads(
        rate=loads / len(negatives) if negatives else float("nan"),
        bound=float(stats.beta.ppf(0.95, loads + 1, rest)) if rest else 1.0,
        loads=loads,
        negatives=len(negatives),
    )


def _arrays(rows: Sequence[DecisionRow]) -> tuple[Floats, Bools]:
    return (
        np.array([row.p_useful for row in rows], dtype=np.float64),
        np.array([row.useful for row in rows], dtype=np.bool_),
    )
