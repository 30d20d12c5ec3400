"""Bootstrap intervals: how far a mean, or a difference of two systems, could be chance.

The rows of each stratum are drawn anew with replacement, as many as there were. Rows that are
no independent draws, such as many queries for one skill, are drawn by cluster, all or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.types import Interval

RESAMPLES = 10_000
SEED = 0
_AT_ONCE = 4_000_000  # rows drawn in one go, 8 bytes each

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two systems over the same rows: the mean of one less the mean of the other."""

    interval: Interval

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `no difference` where the interval holds zero."""
        if self.interval.low > 0:
            return "better"
        if self.interval.high < 0:
            return "worse"
        return "no difference"


def compare(
    one: Mapping[str, float],
    other: Mapping[str, float],
    *,
    strata: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
    macro: bool = False,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """How much higher `one` scores than `other`, paired by qid.

    Raises ValueError where the two do not hold the same queries.
    """
    if one.keys() != other.keys():
        odd = sorted(one.keys() ^ other.keys())
        raise ValueError(f"{len(odd)} queries have a value in one system only, such as {odd[0]!r}")
    qids = sorted(one)
    interval = mean_interval(
        [one[qid] - other[qid] for qid in qids],
        strata=None if strata is None else [strata[qid] for qid in qids],
        clusters=None if clusters is None else [clusters[qid] for qid in qids],
        macro=macro,
        resamples=resamples,
        seed=seed,
    )
    return Difference(interval=interval)


def mean_interval(
    values: Sequence[float] | Floats,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    macro: bool = False,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The mean of per-query values with its 95 % percentile interval; nan where there are none.

    `strata` and `clusters` name those of each value. With `macro` the mean is that of the
    strata's means, whatever their sizes.
    """
    column = np.asarray(values, dtype=np.float64)[:, None]
    return mean_intervals(
        column, strata=strata, clusters=clusters, macro=macro, resamples=resamples, seed=seed
    )[0]


def mean_intervals(
    values: Floats,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    macro: bool = False,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Interval]:
    """`mean_interval` of every column of `values`, shape (queries, metrics), by the same draws."""
    rows, columns = values.shape
    if not rows:
        return [Interval(mean=np.nan, low=np.nan, high=np.nan, rows=0)] * columns
    parts = _sums(values, strata, clusters)
    random = np.random.default_rng(seed)
    means = _means([part.sum(axis=0)[None] for part in parts], macro)[0]
    drawn = _means([_draw(part, resamples, random) for part in parts], macro)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        Interval(mean=float(means[i]), low=float(low[i]), high=float(high[i]), rows=rows)
        for i in range(columns)
    ]


def _sums(
    values: Floats, strata: Sequence[str] | None, clusters: Sequence[str] | None
) -> list[Floats]:
    """For each stratum its clusters' sums and, last, sizes: shape (clusters, metrics + 1)."""
    counted = np.column_stack([values, np.ones(len(values))])
    stratum = _codes(strata, np.zeros(len(values), dtype=np.intp))
    cluster = _codes(clusters, np.arange(len(values)))
    parts = []
    for code in np.unique(stratum):
        here = stratum == code
        names, of_row = np.unique(cluster[here], return_inverse=True)
        part = np.zeros((len(names), counted.shape[1]))
        np.add.at(part, of_row, counted[here])
        parts.append(part)
    return parts


def _codes(names: Sequence[str] | None, default: NDArray[np.intp]) -> NDArray[np.intp]:
    if names is None:
        return default
    if len(names) != len(default):
        raise ValueError(f"{len(names)} names for {len(default)} values")
    return np.unique(np.asarray(names), return_inverse=True)[1]


def _draw(part: Floats, resamples: int, random: np.random.Generator) -> Floats:
    """Sums and sizes of every resample of one stratum, shape (resamples, metrics + 1)."""
    clusters = len(part)
    at_once = max(1, _AT_ONCE // clusters)
    drawn = []
    for done in range(0, resamples, at_once):
        now = min(at_once, resamples - done)
        picked = random.integers(clusters, size=(now, clusters))
        picked += np.arange(now)[:, None] * clusters  # so that one count serves all resamples
        times = np.bincount(picked.ravel(), minlength=now * clusters).reshape(now, clusters)
        drawn.append(times.astype(np.float64) @ part)
    return np.concatenate(drawn)


def _means(parts: Sequence[Floats], macro: bool) -> Floats:
    """The means of every resample over all strata, shape (resamples, metrics)."""
    stacked = np.stack(parts)  # (strata, resamples, metrics + 1)
    sums, sizes = stacked[..., :-1], stacked[..., -1:]
    means: Floats = (sums / sizes).mean(axis=0) if macro else sums.sum(axis=0) / sizes.sum(axis=0)
    return means
