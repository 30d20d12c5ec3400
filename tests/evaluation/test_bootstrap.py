"""The bootstrap: its intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.bootstrap import Floats, compare, mean_interval, mean_intervals
from evaluation.types import Interval


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(1)
    samples = random.binomial(1, 0.7, size=(300, 120))
    found = [holds(mean_interval(sample, resamples=800), 0.7) for sample in samples]
    assert 0.91 <= np.mean(found) <= 0.98


def clustered(random: np.random.Generator) -> tuple[Floats, list[str]]:
    """30 skills of 10 queries, alike within a skill; the true mean is 0."""
    values = random.normal(0, 1, size=(30, 1)) + random.normal(0, 0.3, size=(30, 10))
    return values.ravel(), [f"skill{number // 10}" for number in range(300)]


def test_drawing_by_cluster_holds_the_truth_where_drawing_by_row_flatters() -> None:
    random = np.random.default_rng(2)
    by_row, by_cluster = [], []
    for _ in range(200):
        values, clusters = clustered(random)
        by_row.append(holds(mean_interval(values, resamples=400), 0))
        by_cluster.append(holds(mean_interval(values, clusters=clusters, resamples=400), 0))
    assert np.mean(by_row) < 0.6
    assert 0.88 <= np.mean(by_cluster) <= 0.98


def test_the_interval_agrees_with_resampling_one_by_one() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    random = np.random.default_rng(4)
    means = [random.choice(values, size=40).mean() for _ in range(4000)]
    found = mean_interval(values)
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)
    assert found.mean == pytest.approx(values.mean())


def test_strata_take_their_differences_out_of_the_interval() -> None:
    values = np.repeat([0.0, 1.0], 50)
    found = mean_interval(values, strata=["a"] * 50 + ["b"] * 50)
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)
    assert mean_interval(values).low < 0.45


def test_a_macro_mean_weighs_strata_alike() -> None:
    found = mean_interval([1.0] * 90 + [0.0] * 10, strata=["a"] * 90 + ["b"] * 10, macro=True)
    assert found.mean == 0.5


def test_every_column_gets_the_interval_that_it_gets_alone() -> None:
    values = np.random.default_rng(5).random((50, 3))
    alone = [mean_interval(values[:, column]) for column in range(3)]
    for one, other in zip(mean_intervals(values), alone, strict=True):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    values = np.random.default_rng(6).random(60)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)


def test_no_rows_have_no_mean_and_one_row_no_width() -> None:
    nothing = mean_interval([])
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()
    assert nothing.rows == 0
    assert mean_interval([0.3]) == Interval(mean=0.3, low=0.3, high=0.3, rows=1)


def test_pairing_finds_a_small_gain_that_two_intervals_hide() -> None:
    base = np.random.default_rng(7).random(200)
    one = {f"q{n}": float(value) + 0.02 for n, value in enumerate(base)}
    other = {f"q{n}": float(value) for n, value in enumerate(base)}
    assert compare(one, other).verdict == "better"
    assert compare(other, one).verdict == "worse"
    assert mean_interval(list(one.values())).low < mean_interval(list(other.values())).high


def test_two_equal_systems_differ_by_chance_in_about_5_of_100_samples() -> None:
    random = np.random.default_rng(8)
    verdicts = []
    for _ in range(200):
        one, other = random.random((2, 80))
        verdicts.append(
            compare(
                {str(n): float(v) for n, v in enumerate(one)},
                {str(n): float(v) for n, v in enumerate(other)},
                resamples=400,
            ).verdict
        )
    assert 0.9 <= np.mean([verdict == "no difference" for verdict in verdicts]) <= 0.99


def test_systems_over_other_queries_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 queries have a value in one system only, such as 'a'"):
        compare({"a": 1.0, "c": 1.0}, {"b": 1.0, "c": 1.0})


def test_strata_and_clusters_go_by_qid_in_a_comparison() -> None:
    one, other = {"b": 1.0, "a": 0.0}, {"a": 1.0, "b": 0.0}
    found = compare(one, other, strata={"a": "x", "b": "y"}, clusters={"a": "s", "b": "s"})
    assert found.interval == Interval(mean=0, low=0, high=0, rows=2)


def test_names_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 names for 2 values"):
        mean_interval([1.0, 2.0], strata=["a"])
