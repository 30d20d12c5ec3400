"""Fits a policy: weights, thresholds and the promise behind `max_false_load`; arrays in.

Every group of rows (a catalogue) counts alike, and in it the useful rows as much as the useless
ones. So the fitted confidence is calibrated where every second task has a skill that helps.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from reranker.decision import FEATURES, Features, ScaleWeights
from reranker.policy import (
    CONFIDENCE,
    QUANTILE_DIGITS,
    TENTHS,
    Coverage,
    Policy,
    Promise,
    Scale,
    Surroundings,
)

# What the base policy says counts as much as this many rows where a few own ones refit it: fifty
# queries, which with their right skills removed are a hundred rows, move it half of the way.
PRIOR_ROWS = 100.0

FOLDS = 5

FALSE_LOADS, FALSE_OFFERS = 0.15, 0.3
"""The shares of useless calibration rows that `load`, where no promise is asked for, and `load or
consider` let through: half of the useless rows that are offered anything are not loaded for."""

ALPHAS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""The promises that a table offers where its rows suffice."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Judged answers: the first skill's features, as the router's confidence is that skill's."""

    names: tuple[str, ...]  # of the columns
    features: Floats  # shape (rows, names)
    useful: Bools  # shape (rows,)
    groups: tuple[str, ...]  # the catalogue of each row

    def __len__(self) -> int:
        return len(self.useful)

    def part(self, chosen: Bools) -> Rows:
        """Those of the rows."""
        return Rows(
            names=self.names,
            features=self.features[chosen],
            useful=self.useful[chosen],
            groups=tuple(np.asarray(self.groups, dtype=object)[chosen]),
        )


def rows_of(
    first: Sequence[Features],
    useful: Sequence[bool],
    groups: Sequence[str],
    names: Sequence[str] = tuple(FEATURES),
) -> Rows:
    """Rows with the named features."""
    values = [[found[name] for name in names] for found in first]
    return Rows(
        names=tuple(names),
        features=np.array(values, dtype=np.float64).reshape(len(first), len(names)),
        useful=np.array(useful, dtype=np.bool_),
        groups=tuple(groups),
    )


def fit_calibrated(
    train: Rows, calibration: Rows, base: Scale, *, rows: str, negatives: str
) -> Scale:
    """Weights from `train`, thresholds and promises from `calibration`.

    `rows` and `negatives` say what they are, for those who read the answers. Of the base only
    what is not fitted here is taken over.
    """
    scale = fit_scale(train)
    p = predict(calibration, scale)
    return base.model_copy(
        update={
            "bias": scale.bias,
            "weights": scale.weights,
            "calibration": rows,
            "negatives": negatives,
            "consider": letting_through(calibration, p, FALSE_OFFERS),
            "load": letting_through(calibration, p, FALSE_LOADS),
            "false_load": promises(calibration, p),
            "quantiles": quantiles(calibration, p),
            "catalogues": {},
        }
    )


def with_scales(
    base: Policy, scales: Mapping[str, Scale], covers: Coverage | None = None
) -> Policy:
    """The policy with these scales beside those that it has for other rerankers.

    `covers` is where they were fitted; without one, where the base was.
    """
    joined = {**base.scales, **scales}
    covers = covers or base.covers
    content = [base.arm_weights, covers, *sorted(joined.items())]
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    return Policy(
        id=f"fitted-{digest[:8]}", arm_weights=base.arm_weights, scales=joined, covers=covers
    )


def covering(seen: Sequence[Surroundings]) -> Coverage:
    """What reaches from the least to the greatest of each. Raises ValueError for two encoders."""
    encoders = {each.encoder for each in seen}
    if len(encoders) != 1:
        raise ValueError(f"rows of one encoder are needed, not of {len(encoders)}")
    skills = [each.skills for each in seen]
    background = [each.background for each in seen]
    return Coverage(
        encoder=encoders.pop(),
        skills=(min(skills), max(skills)),
        background=(round(min(background), 4), round(max(background), 4)),
    )


def quantiles(rows: Rows, p: Floats) -> dict[str, tuple[float, ...]]:
    """What parts the rows into tenths, groups alike: of each feature, and of the confidence."""
    weight = balance(rows)
    columns = {**dict(zip(rows.names, rows.features.T, strict=True)), CONFIDENCE: p}
    return {
        name: tuple(
            round(float(value), QUANTILE_DIGITS)
            for value in np.quantile(column, TENTHS, weights=weight, method="inverted_cdf")
        )
        for name, column in columns.items()
    }


def balance(rows: Rows) -> Floats:
    """Weights, with mean 1, that make every kind of row of every group count alike."""
    cells = list(zip(rows.groups, rows.useful.tolist(), strict=True))
    sizes = Counter(cells)
    weights = np.array([len(rows) / (len(sizes) * sizes[cell]) for cell in cells])
    return weights.reshape(len(rows))


def fit_scale(rows: Rows, base: ScaleWeights | None = None) -> ScaleWeights:
    """Logistic regression of usefulness, drawn towards what `base` says of the same rows, if any.

    That prior is catalytic (Huang, Stein, Rubin and Kou 2020): `PRIOR_ROWS` further rows like
    these, useful with the probability that the base gives them. It needs no scale of its own and
    keeps the fit finite where rows are few or separable. A weight keeps the
    sign of its feature. Raises ValueError where there are no rows.
    """
    if not len(rows):
        raise ValueError("no rows to fit on")
    centre, spread = rows.features.mean(axis=0), rows.features.std(axis=0)
    spread[spread == 0] = 1.0
    columns = np.column_stack([np.ones(len(rows)), (rows.features - centre) / spread])
    weight, target = balance(rows), rows.useful.astype(np.float64)
    if base is not None:
        prior = PRIOR_ROWS / len(rows)
        target = (weight * target + prior * predict(rows, base)) / (weight + prior)
        weight = weight + prior

    def loss(solution: Floats) -> tuple[float, Floats]:
        logit = columns @ solution
        each = np.logaddexp(0, logit) - target * logit
        return float(weight @ each), columns.T @ (weight * (expit(logit) - target))

    start = np.zeros(columns.shape[1])
    bounds = [
        (None, None),
        *((0.0, None) if FEATURES[name].sign > 0 else (None, 0.0) for name in rows.names),
    ]
    solution = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    slopes = solution[1:] / spread
    return ScaleWeights(
        bias=round(float(solution[0] - slopes @ centre), 6),
        weights={name: round(float(s), 6) for name, s in zip(rows.names, slopes, strict=True)},
    )


def predict(rows: Rows, scale: ScaleWeights) -> Floats:
    """`reranker.decision.probability` of every row."""
    slopes = np.array([scale.weights.get(name, 0.0) for name in rows.names])
    p: Floats = expit(np.clip(scale.bias + rows.features @ slopes, -50, 50))
    return p


def letting_through(rows: Rows, p: Floats, share: float) -> float:
    """The lowest threshold that at most this share of the useless rows reach, groups alike."""
    useless = ~rows.useful
    order = np.argsort(-p[useless], kind="stable")
    weight = balance(rows)[useless][order]
    reached = np.cumsum(weight) / weight.sum()
    let_through = int(np.searchsorted(reached, share, side="right"))
    return (math.floor(float(p[useless][order][let_through]) * 10_000) + 1) / 10_000


def promises(rows: Rows, p: Floats) -> tuple[Promise, ...]:
    """The threshold that keeps each of `ALPHAS`, in every group with useless rows.

    Split conformal (Vovk, Gammerman and Shafer 2005; the 0-1 case of conformal risk control,
    Angelopoulos et al. 2022): among n useless rows of a group, the lowest threshold t with
    (#{p >= t} + 1) / (n + 1) <= alpha. Then the chance that a further useless task is loaded is
    at most alpha, for any n and whatever the weights, over the draw of both; with the n rows
    fixed it varies about that. Assumed is that the task could as well have been one of these
    rows (exchangeability), and that `p` was not fitted on them. The highest of the groups'
    thresholds keeps the promise in each. An alpha that the rows cannot show is left out.
    """
    groups = np.asarray(rows.groups, dtype=object)
    useless = [p[(groups == name) & ~rows.useful] for name in sorted(set(rows.groups))]
    kinds = [found for found in useless if len(found)]
    lines = []
    for alpha in ALPHAS:
        threshold = max((_conformal(found, alpha) for found in kinds), default=math.inf)
        if threshold <= 1:
            lines.append(Promise(max_false_load=alpha, threshold=threshold))
    return tuple(lines)


def _conformal(useless: Floats, alpha: float) -> float:
    # A hair is added, since 0.3 * 10 is 3 less a rounding error.
    loads = math.floor(alpha * (len(useless) + 1) + 1e-9) - 1
    if loads < 0:
        return math.inf
    if loads >= len(useless):
        return 0.0
    highest_refused = float(np.sort(useless)[::-1][loads])
    return (math.floor(highest_refused * 1e6) + 1) / 1e6


def smallest_promise(negatives: int) -> float:
    """The strictest `max_false_load` that this many useless rows can show."""
    return 1 / (negatives + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """A policy fitted on all rows, and for each row one that was fitted without its fold."""

    policy: Policy
    fold: NDArray[np.intp]  # of each row
    without: tuple[Policy, ...]  # by fold


def cross_fit(
    rows: Rows,
    clusters: Sequence[str],
    base: Policy,
    *,
    scored_by: str,
    calibration: str,
    negatives: str,
    covers: Coverage,
    folds: int = FOLDS,
) -> CrossFit:
    """A policy where rows are too few to keep some apart for its promises.

    These rest on the probabilities that each row gets from the weights fitted on the other folds
    (cross-conformal prediction, Vovk 2015: the promise holds approximately, not for any n). Rows
    of one cluster share a fold. A policy without a fold is made in the same way of the rest. The
    thresholds stay the base's: a few rows would only move them about, and a fitted probability
    means the same.
    """
    fold = _folds(rows, clusters, folds)
    known = base.scale(scored_by)

    def policy(chosen: Bools) -> Policy:
        part = rows.part(chosen)
        scale = fit_scale(part, known)
        fitted = known.model_copy(
            update={
                "bias": scale.bias,
                "weights": scale.weights,
                "calibration": calibration,
                "negatives": negatives,
                "false_load": promises(part, _out_of_fold(part, fold[chosen], known)),
                "quantiles": quantiles(part, predict(part, scale)),
                "catalogues": {},
            }
        )
        return with_scales(base, {scored_by: fitted}, covers)

    return CrossFit(
        policy=policy(fold >= 0),
        fold=fold,
        without=tuple(policy(fold != number) for number in range(int(fold.max()) + 1)),
    )


def _out_of_fold(rows: Rows, fold: NDArray[np.intp], base: ScaleWeights) -> Floats:
    """The probability of each row by weights that are fitted without its fold."""
    p = np.zeros(len(rows))
    for number in np.unique(fold):
        here = fold == number
        p[here] = predict(rows.part(here), fit_scale(rows.part(~here), base))
    return p


def _folds(rows: Rows, clusters: Sequence[str], folds: int) -> NDArray[np.intp]:
    """The fold of each row: clusters dealt out in turn, those with a useful row first."""
    names = np.asarray(clusters, dtype=object)
    useful = set(names[rows.useful])
    # By hash, so that the order of the file is without effect.
    dealt = sorted(
        set(clusters), key=lambda c: (c not in useful, hashlib.sha256(c.encode()).digest())
    )
    place = {name: number % folds for number, name in enumerate(dealt)}
    return np.array([place[name] for name in clusters], dtype=np.intp)
