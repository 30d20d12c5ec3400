"""Decision metrics against scikit-learn and plain second implementations."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from evaluation.decision_metrics import (
    LOADS,
    OFFERS,
    Bools,
    DecisionRow,
    Floats,
    auroc,
    auroc_interval,
    balanced_accuracy,
    calibration,
    false_loads,
    report,
    risk_coverage,
)

# Few values, so that ties are common.
cases = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 1.0]), st.booleans()),
    min_size=1,
    max_size=40,
)


def arrays(rows: list[tuple[float, bool]]) -> tuple[Floats, Bools]:
    return np.array([p for p, _ in rows]), np.array([useful for _, useful in rows], dtype=np.bool_)


def decided(*rows: tuple[str, bool]) -> list[DecisionRow]:
    return [
        DecisionRow(qid=str(n), source="s", p_useful=0.5, decision=decision, useful=useful)
        for n, (decision, useful) in enumerate(rows)
    ]


def calibrated(rows: int, seed: int) -> tuple[Floats, Bools]:
    random = np.random.default_rng(seed)
    p = random.random(rows)
    return p, random.random(rows) < p


@given(cases)
def test_auroc_agrees_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    p, useful = arrays(rows)
    if len(set(useful)) < 2:
        assert np.isnan(auroc(p, useful))
    else:
        assert auroc(p, useful) == pytest.approx(sklearn_metrics.roc_auc_score(useful, p))


@given(cases)
def test_brier_agrees_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    p, useful = arrays(rows)
    expected = sklearn_metrics.brier_score_loss(useful, p, labels=[False, True])
    assert calibration(p, useful).brier == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from(["load", "consider", "none"]), st.booleans())))
def test_balanced_accuracy_agrees_with_scikit_learn(rows: list[tuple[str, bool]]) -> None:
    useful = [useful for _, useful in rows]
    for acts in (LOADS, OFFERS):
        found = balanced_accuracy(decided(*rows), acts)
        if len(set(useful)) < 2:
            assert np.isnan(found.mean)
        else:
            acted = [decision in acts for decision, _ in rows]
            expected = sklearn_metrics.balanced_accuracy_score(useful, acted)
            assert found.mean == pytest.approx(expected)
            assert found.low <= found.mean <= found.high


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 9))
def test_ece_agrees_with_a_plain_one_where_nothing_ties(rows: int, bins: int, seed: int) -> None:
    p, useful = calibrated(rows, seed)
    pairs = sorted(zip(p, useful, strict=True))
    plain = 0.0
    for number in range(bins):
        within = [x for n, x in enumerate(pairs) if number <= (n + 0.5) / rows * bins < number + 1]
        plain += abs(sum(x for x, _ in within) - sum(y for _, y in within)) / rows
    assert calibration(p, useful, bins=bins).ece == pytest.approx(plain)


@given(cases, st.randoms())
def test_no_figure_depends_on_the_order_of_rows(
    rows: list[tuple[float, bool]], random: Random
) -> None:
    before = figures(*arrays(rows))
    random.shuffle(rows)
    assert figures(*arrays(rows)) == pytest.approx(before, nan_ok=True)


def test_the_auroc_interval_holds_the_value_and_is_the_same_for_the_same_rows() -> None:
    p, useful = calibrated(200, seed=2)
    found = auroc_interval(p, useful, None)
    assert found.mean == auroc(p, useful) and found.rows == 200
    assert 0.5 < found.low < found.mean < found.high < 1
    assert found == auroc_interval(p, useful, None)


def test_the_auroc_interval_holds_the_truth_about_95_times_in_100() -> None:
    # p is uniform and the chance to be useful, so the densities are 2p and 2(1 - p): AUROC is 5/6.
    drawn = [auroc_interval(*calibrated(120, seed), None) for seed in range(60)]
    assert sum(each.low <= 5 / 6 <= each.high for each in drawn) >= 52


def test_the_auroc_interval_is_wide_where_rows_are_few_clusters() -> None:
    p, useful = calibrated(200, seed=2)
    tied = [str(int(value * 4)) for value in p]  # what is near in p is drawn together
    few, alone = (auroc_interval(p, useful, clusters) for clusters in (tied, None))
    assert few.mean == alone.mean
    assert few.high - few.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize("useful", [True, False])
def test_rows_of_one_kind_have_no_auroc_interval(useful: bool) -> None:
    found = auroc_interval(np.array([0.2, 0.7]), np.array([useful, useful]), None)
    assert np.isnan([found.mean, found.low, found.high]).all() and found.rows == 2


def figures(p: Floats, useful: Bools) -> list[float]:
    return [auroc(p, useful), calibration(p, useful).ece, risk_coverage(p, useful).area]


def test_equal_probabilities_share_a_bin() -> None:
    found = calibration(np.full(20, 0.3), np.arange(20) < 10)
    assert [point.rows for point in found.points] == [20]
    assert found.ece == pytest.approx(0.2)


def test_bins_hold_equally_many_rows() -> None:
    p, useful = calibrated(200, seed=1)
    assert [point.rows for point in calibration(p, useful).points] == [20] * 10


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_the_risk_curve_is_the_mean_over_all_orders_of_ties(rows: list[tuple[float, bool]]) -> None:
    curves = [
        np.cumsum([not useful for _, useful in order]) / np.arange(1, len(rows) + 1)
        for order in permutations(rows)
        if all(before >= after for (before, _), (after, _) in pairwise(order))
    ]
    found = risk_coverage(*arrays(rows))
    assert found.risk == pytest.approx(np.mean(curves, axis=0))
    assert found.area == pytest.approx(np.mean(curves))


def test_serving_the_sure_tasks_first_is_less_risky_than_serving_them_last() -> None:
    useful = np.array([True] * 8 + [False] * 2)
    p = np.linspace(0.9, 0.1, 10)
    assert risk_coverage(p, useful).risk[7] == 0
    assert risk_coverage(p, useful).coverage[-1] == 1
    assert risk_coverage(p, useful).area < risk_coverage(1 - p, useful).area


@pytest.mark.parametrize(("loads", "negatives"), [(0, 20), (3, 57), (19, 20), (20, 20)])
def test_the_bound_is_the_rate_that_would_rarely_give_so_few(loads: int, negatives: int) -> None:
    rows = decided(*[("load" if n < loads else "none", False) for n in range(negatives)])
    found = false_loads([*rows, *decided(("load", True), ("none", True))])
    assert (found.loads, found.negatives, found.rate) == (loads, negatives, loads / negatives)
    if loads < negatives:
        assert stats.binom.cdf(loads, negatives, found.bound) == pytest.approx(0.05)
    else:
        assert found.bound == 1


def test_consider_is_no_false_load() -> None:
    assert false_loads(decided(("consider", False))).loads == 0


def test_the_bound_holds_the_truth_at_least_95_times_in_100() -> None:
    drawn = np.random.default_rng(0).binomial(40, 0.1, size=400)
    bounds = [
        false_loads(decided(*[("load" if n < k else "none", False) for n in range(40)])).bound
        for k in drawn
    ]
    assert np.mean([bound >= 0.1 for bound in bounds]) >= 0.93


def test_a_calibrated_policy_is_called_so_about_95_times_in_100() -> None:
    verdicts = [calibration(*calibrated(200, seed)).verdict for seed in range(100)]
    assert verdicts.count("calibrated") >= 88


def test_an_overconfident_policy_shows_in_ece_and_is_flagged() -> None:
    p, useful = calibrated(600, seed=3)
    overconfident = calibration(np.sqrt(p), useful)
    assert overconfident.ece > 2 * calibration(p, useful).ece
    assert overconfident.verdict == "overconfident"
    assert calibration(p**2, useful).verdict == "underconfident"


def test_a_policy_that_is_too_sure_both_ways_is_flagged() -> None:
    p, useful = calibrated(400, seed=4)
    assert calibration(np.where(p > 0.5, 0.99, 0.01), useful).verdict == "miscalibrated"


def test_a_report_over_no_rows_says_that_it_knows_nothing() -> None:
    found = report([])
    assert np.isnan([found.auroc, found.calibration.ece, found.risk_coverage.area]).all()
    assert found.calibration.verdict == "unknown"
    assert found.false_loads.bound == 1


def test_a_report_holds_both_ways_of_acting() -> None:
    found = report(decided(("load", True), ("consider", True), ("none", False), ("none", False)))
    assert (found.rows, found.useful) == (4, 2)
    assert found.balanced_accuracy.mean == 0.75
    assert found.balanced_accuracy_offer.mean == 1


def test_strata_count_alike_whatever_their_sizes() -> None:
    rows = decided(("load", True), ("load", False), *[("load", True), ("none", False)] * 9)
    strata = ["small"] * 2 + ["large"] * 18
    assert balanced_accuracy(rows, LOADS, strata=strata).mean == pytest.approx(0.75)
    assert balanced_accuracy(rows, LOADS).mean == pytest.approx(0.95)


def test_rows_of_one_cluster_are_no_independent_draws() -> None:
    rows = decided(*[("load", True), ("none", False), ("none", True), ("load", False)] * 10)
    tied = ["right", "right", "wrong", "wrong"] * 10
    alone, together = (
        balanced_accuracy(rows, LOADS, clusters=clusters) for clusters in (None, tied)
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)
