"""Fitting a policy: what is recovered, what is kept, and what is promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker.decision import FEATURES, Features, ScaleWeights, probability
from reranker.learn.fit_policy import (
    FALSE_LOADS,
    FALSE_OFFERS,
    CrossFit,
    Rows,
    balance,
    covering,
    cross_fit,
    fit_calibrated,
    fit_scale,
    letting_through,
    predict,
    promises,
    quantiles,
    rows_of,
    smallest_promise,
    with_scales,
)
from reranker.policy import (
    CONFIDENCE,
    EVERYTHING,
    FALLBACK,
    SHIPPED,
    Surroundings,
    load_policy,
)

BASE = load_policy(SHIPPED)
TRUTH = ScaleWeights(bias=-2, weights={"dense_margin": 0.8, "lexical_margin": 2.0})


def drawn(count: int, seed: int = 0, *, truth: ScaleWeights = TRUTH, groups: int = 2) -> Rows:
    """Rows whose usefulness is drawn from `truth`."""
    random = np.random.default_rng(seed)
    first: list[Features] = [
        {
            "dense_margin": float(random.normal(1, 2)),
            "lexical_margin": float(random.random()),
        }
        for _ in range(count)
    ]
    useful = [bool(random.random() < probability(found, truth)) for found in first]
    return rows_of(
        first, useful, [f"group {n % groups}" for n in range(count)], tuple(truth.weights)
    )


def of_probabilities(p: list[float], useful: list[bool], groups: list[str] | None = None) -> Rows:
    first = [dict.fromkeys(FEATURES, value) for value in p]
    return rows_of(first, useful, groups or ["one"] * len(p))


def test_the_truth_is_found_again() -> None:
    rows = drawn(8_000)
    found = fit_scale(rows)
    slopes = np.array(list(found.weights.values()))
    assert slopes == pytest.approx(list(TRUTH.weights.values()), abs=0.25)


def test_predictions_are_the_routers_own() -> None:
    rows = drawn(20)
    first = [dict(zip(rows.names, values, strict=True)) for values in rows.features.tolist()]
    assert predict(rows, TRUTH) == pytest.approx([probability(each, TRUTH) for each in first])


def test_few_rows_move_the_base_a_little_and_many_override_it() -> None:
    base = ScaleWeights(bias=0, weights={})
    lifts = [fit_scale(drawn(n), base).weights["dense_margin"] for n in (50, 5_000)]
    assert 0.05 < lifts[0] < 0.5 * lifts[1]


def test_a_rising_feature_that_misleads_gets_no_weight() -> None:
    truth = TRUTH.model_construct(bias=1.0, weights=TRUTH.weights | {"lexical_margin": -3.0})
    assert FEATURES["lexical_margin"].sign > 0
    assert fit_scale(drawn(3_000, truth=truth)).weights["lexical_margin"] == 0


def test_rows_that_can_be_told_apart_perfectly_do_not_blow_up() -> None:
    rows = of_probabilities([0.1] * 30 + [0.9] * 30, [False] * 30 + [True] * 30)
    found = fit_scale(rows, ScaleWeights(bias=0, weights={"lexical_margin": 1}))
    assert 0 < found.weights["lexical_margin"] < 20


def test_without_rows_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no rows"):
        fit_scale(drawn(0))


def test_every_group_counts_alike_and_in_it_useful_and_useless_rows() -> None:
    rows = of_probabilities([0.5] * 8, [True] + [False] * 7, ["a"] * 4 + ["a"] * 2 + ["b"] * 2)
    weight = balance(rows)
    sums = [weight[:1].sum(), weight[1:6].sum(), weight[6:].sum()]
    assert sums == pytest.approx([8 / 3] * 3)


@pytest.mark.parametrize("share", [FALSE_LOADS, FALSE_OFFERS])
def test_a_threshold_lets_through_as_many_useless_rows_as_it_may(share: float) -> None:
    rows = drawn(1_000, groups=1)
    p = predict(rows, TRUTH)
    let_through = p[~rows.useful] >= letting_through(rows, p, share)
    assert share - 0.02 < let_through.mean() <= share


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9, 1.0]), min_size=1, max_size=60))
def test_a_promise_is_the_lowest_threshold_that_the_rank_rule_allows(useless: list[float]) -> None:
    p = np.array(useless)
    rows = of_probabilities(useless, [False] * len(useless))
    for line in promises(rows, p):
        allowed = line.max_false_load * (len(p) + 1) + 1e-9
        assert (p >= line.threshold).sum() + 1 <= allowed
        assert line.threshold == 0 or (p >= line.threshold - 2e-6).sum() + 1 > allowed


def test_a_promise_is_kept_on_average_over_draws() -> None:
    random = np.random.default_rng(0)
    kept = []
    for _ in range(300):
        p = random.random(39)
        table = promises(of_probabilities(p.tolist(), [False] * 39), p)
        threshold = next(line.threshold for line in table if line.max_false_load == 0.1)
        kept.append(1 - threshold)  # the rate of loads among further uniform draws
    assert np.mean(kept) == pytest.approx(0.1, abs=0.01)


def test_a_promise_holds_in_the_worst_group() -> None:
    p = np.array([0.1] * 20 + [0.8] * 20)
    rows = of_probabilities(p.tolist(), [False] * 40, ["easy"] * 20 + ["hard"] * 20)
    assert all(line.threshold > 0.8 for line in promises(rows, p) if line.max_false_load < 0.5)


def test_too_few_useless_rows_promise_only_what_they_can_show() -> None:
    p = np.linspace(0.1, 0.5, 4)
    offered = [line.max_false_load for line in promises(of_probabilities([*p], [False] * 4), p)]
    assert min(offered) == pytest.approx(smallest_promise(4)) == 0.2
    assert promises(of_probabilities([0.5], [True]), np.array([0.5])) == ()


def test_a_fitted_scale_names_its_rows_and_keeps_what_was_not_fitted() -> None:
    base = BASE.scale(FALLBACK).model_copy(update={"rerank_weight": 0.3, "enough": 2.0})
    found = fit_calibrated(drawn(500), drawn(200, seed=1), base, rows="these", negatives="those")
    assert (found.calibration, found.negatives) == ("these", "those")
    assert (found.rerank_weight, found.enough) == (0.3, 2.0)
    assert 0 < found.consider <= found.load < 1


def test_a_policy_with_another_scale_keeps_the_rest_and_has_an_id_of_its_own() -> None:
    changed = BASE.scale(FALLBACK).model_copy(update={"bias": 1.0})
    found = with_scales(BASE, {"mine": changed})
    assert found.scales == {**BASE.scales, "mine": changed}
    assert found.arm_weights == BASE.arm_weights and found.id != BASE.id
    assert with_scales(BASE, {"mine": changed}).id == found.id


def test_no_row_is_judged_by_what_was_fitted_on_its_cluster() -> None:
    rows = drawn(60, groups=1)
    clusters = [f"skill {n // 3}" for n in range(60)]
    found = fit(rows, clusters)
    assert {len(set(found.fold[n : n + 3].tolist())) for n in range(0, 60, 3)} == {1}
    assert set(found.fold.tolist()) == {0, 1, 2, 3, 4}
    chosen = found.fold == 2
    relabelled = Rows(
        names=rows.names,
        features=rows.features,
        useful=np.where(chosen, ~rows.useful, rows.useful),
        groups=rows.groups,
    )
    assert fit(relabelled, clusters).without[2] == found.without[2]


def fit(rows: Rows, clusters: list[str]) -> CrossFit:
    return cross_fit(
        rows,
        clusters,
        BASE,
        scored_by="overlap",
        calibration="these",
        negatives="those",
        covers=covering([around(30)]),
    )


def around(skills: int, background: float = 0.2, encoder: str = "e") -> Surroundings:
    return Surroundings(encoder=encoder, skills=skills, background=background, catalogue=EVERYTHING)


def test_a_policy_covers_what_lies_between_its_surroundings() -> None:
    covers = covering([around(30, 0.15), around(1_000, 0.35), around(200, 0.2)])
    assert (covers.skills, covers.background) == ((30, 1_000), (0.15, 0.35))
    assert covers.holds(around(500, 0.3)) and covers.holds(around(2_000, 0.44))
    unlike = [around(14), around(2_001), around(500, 0.04), around(500, 0.46)]
    assert not any(covers.holds(each) for each in [*unlike, around(500, encoder="other")])


def test_a_policy_covers_one_encoder() -> None:
    with pytest.raises(ValueError, match="one encoder"):
        covering([around(30), around(30, encoder="other")])


def test_quantiles_part_rows_into_tenths_groups_alike() -> None:
    rows = of_probabilities([0.1] * 90 + [0.9] * 10, [False] * 100, ["a"] * 90 + ["b"] * 10)
    found = quantiles(rows, rows.features[:, 0])
    assert found.keys() == {*FEATURES, CONFIDENCE}
    assert found[CONFIDENCE] == pytest.approx((0.1,) * 5 + (0.9,) * 4)
