"""Decision lines: policies judged on observations, and what a report says of broken ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from app.routing.second_stage import PARTIAL
from app.settings import AppSettings
from core.errors import RerankerFailedError
from evaluation.datasets import METATOOL, Labelled, SkillRow
from evaluation.decision_metrics import report
from evaluation.decisions import PROMISED, judge, labelled_cases, lines_of, own_cases
from evaluation.fitting import (
    NO_TOOL,
    UNHURRIED_S,
    fit,
    may_train,
    usable,
    ways_to_score,
    within_catalogues,
    without_each,
)
from evaluation.observations import Condition, Observation, Seen
from evaluation.split import Assignment, Ties
from evaluation.types import POOL, Split
from reranker.decision import FEATURES, ScaleWeights, probability
from reranker.policy import FALLBACK, SHIPPED, Policy, Surroundings, load_policy
from tests.evaluation.rows import a_query

BASE = load_policy(SHIPPED)
TRUTH = ScaleWeights(bias=-3, weights={"dense_margin": 1.0, "lexical_margin": 2.0})


def an_observation(
    number: int,
    *,
    useful: bool,
    features: dict[str, float],
    source: str = "uipath",
    scope: str = "acme/tools",
    condition: Condition | None = None,
    split: str = Split.TEST,
    weak: bool = False,
) -> Observation:
    kind = Condition.PRESENT if useful else Condition.REMOVED
    return Observation(
        qid=f"{source}-{number}",
        source=source,
        scope=scope,
        condition=condition or kind,
        useful=useful,
        split=split,
        component=f"skill {number // 2}",
        weak=weak,
        scored_by="overlap",
        around=Surroundings(encoder="e", skills=300, background=0.2, catalogue=scope),
        named=False,
        visible=True,
        searchable=True,
        skills=(Seen(place="p", twins=(), features=features, right=useful, scores={}),),
    )


def drawn(
    count: int, *, seed: int = 0, split: str = Split.TEST, **others: Any
) -> list[Observation]:
    """Observations whose usefulness is drawn from `TRUTH`."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        features = {
            **dict.fromkeys(FEATURES, 0.0),
            "dense_margin": float(random.normal(2, 2)),
            "lexical_margin": float(random.random()),
        }
        useful = bool(random.random() < probability(features, TRUTH))
        found.append(
            an_observation(number, useful=useful, features=features, split=split, **others)
        )
    return found


def policy_of(scale: ScaleWeights) -> Policy:
    weights = {"bias": scale.bias, "weights": scale.weights}
    return BASE.model_copy(
        update={"scales": {FALLBACK: BASE.scale(FALLBACK).model_copy(update=weights)}}
    )


def scaled(factor: float) -> ScaleWeights:
    weights = {name: weight * factor for name, weight in TRUTH.weights.items()}
    return ScaleWeights(bias=TRUTH.bias * factor, weights=weights)


def test_an_overconfident_policy_is_called_out_and_the_true_one_is_not() -> None:
    rows = drawn(1_000)
    verdicts = [
        report([judge(each, policy_of(scaled(factor))) for each in rows]).calibration.verdict
        for factor in (1, 5)
    ]
    assert verdicts[0] == "calibrated"
    assert verdicts[1] in {"overconfident", "miscalibrated"}


def test_a_policy_that_is_always_surer_is_called_overconfident() -> None:
    surer = ScaleWeights(bias=TRUTH.bias + 2, weights=TRUTH.weights)
    found = report([judge(each, policy_of(surer)) for each in drawn(1_000)])
    assert found.calibration.verdict == "overconfident"


@pytest.mark.parametrize("bias", [-2.0, 2.0])
def test_a_policy_that_always_says_the_same_is_worth_a_half(bias: float) -> None:
    constant = policy_of(ScaleWeights(bias=bias, weights={}))
    found = report([judge(each, constant) for each in drawn(300)])
    assert (found.balanced_accuracy.mean, found.auroc) == (0.5, 0.5)


def test_a_fitted_policy_is_calibrated_and_keeps_its_promise_on_rows_like_its_own() -> None:
    seen = drawn(6_000, seed=1, split=Split.TRAIN) + drawn(2_000, seed=2, split=Split.CALIBRATION)
    fitted, fresh = fit(seen, BASE), drawn(4_000, seed=3)
    loaded = [
        judge(each, fitted, max_false_load=0.1).decision == "load"
        for each in fresh
        if not each.useful
    ]
    assert np.mean(loaded) == pytest.approx(0.1, abs=0.03)
    assert report([judge(each, fitted) for each in fresh]).balanced_accuracy.mean > 0.75
    assert "8,000 rows: uipath" in fitted.scale(FALLBACK).calibration


def test_every_way_to_score_gets_a_scale_of_its_own() -> None:
    rows = drawn(600, seed=1, split=Split.TRAIN) + drawn(300, seed=2, split=Split.CALIBRATION)
    opposite = [replace(each, scored_by="mine", useful=not each.useful) for each in rows]
    fitted = fit([*rows, *opposite], BASE)
    assert fitted.scales.keys() == BASE.scales.keys() | {"mine"}
    assert fitted.scale(FALLBACK) == fit(rows, BASE).scale(FALLBACK)
    one, other = (judge(each, fitted).p_useful for each in (rows[0], opposite[0]))
    assert (one > 0.5) is not (other > 0.5)


def test_a_model_is_observed_whole_cut_off_after_a_chunk_and_gone() -> None:
    ways = ways_to_score(AppSettings(reranker="mine"))
    assert [(way.name, way.settings.rerank_tokens == 1) for way in ways] == [
        ("mine", False),
        ("mine" + PARTIAL, True),
        (FALLBACK, False),
    ]
    assert len(ways_to_score(AppSettings(reranker=FALLBACK))) == 1
    seen = replace(drawn(1)[0], scored_by="mine")
    assert ways[0].named([seen]) == [seen]
    assert ways[1].named([seen]) == [replace(seen, scored_by=seen.scored_by + PARTIAL)]


def test_an_answer_is_observed_without_haste_since_a_late_one_is_of_another_scale() -> None:
    hasty = AppSettings(reranker="mine", rerank_deadline_s=0.01)
    assert all(way.settings.rerank_deadline_s == UNHURRIED_S for way in ways_to_score(hasty))


@pytest.mark.parametrize("scored_by", [FALLBACK, "mine" + PARTIAL])
def test_rows_that_a_model_failed_on_count_for_no_scale(scored_by: str) -> None:
    whole, cut_off, by_words = ways_to_score(AppSettings(reranker="mine"))
    failed = replace(drawn(1)[0], scored_by=scored_by)
    for way in (whole, cut_off):
        with pytest.raises(RerankerFailedError, match="1 of 2 answers"):
            way.named([replace(failed, scored_by="mine"), failed])
    words = drawn(2)
    assert by_words.named(words) == words


def test_test_rows_and_unchecked_negatives_change_nothing_that_is_fitted() -> None:
    seen = drawn(200, seed=1, split=Split.TRAIN) + drawn(100, seed=2, split=Split.CALIBRATION)
    weak = an_observation(900, useful=False, features=dict.fromkeys(FEATURES, 9.0), weak=True)
    assert fit([*seen, *drawn(50), weak], BASE) == fit(seen, BASE)
    assert weak not in usable([weak])


def test_every_case_names_its_useless_rows_and_none_lacks_a_kind() -> None:
    features = dict.fromkeys(FEATURES, 1.0)
    conditions = [
        ("uipath", Condition.NEGATIVE),
        ("uipath", Condition.REMOVED),
        (NO_TOOL, Condition.NEGATIVE),
        ("metatool-reliability", Condition.WITHHELD),
    ]
    useless = [
        an_observation(n, useful=False, features=features, source=source, condition=condition)
        for n, (source, condition) in enumerate(conditions)
    ]
    useful = [
        an_observation(9, useful=True, features=features, source=source)
        for source in ("uipath", "metatool-reliability", "nvidia")
    ]
    found = {
        (case.rows, case.source): len(case.observations)
        for case in labelled_cases([*useless, *useful], [])
    }
    assert found == {
        ("present or removed", "uipath"): 2,
        ("present or removed", "every catalogue alike"): 3,
        ("present or negative", "uipath"): 2,
        ("present or no tool needed", NO_TOOL): 4,
        ("offered or withheld", "metatool-reliability"): 2,
    }


def test_a_request_without_need_of_a_tool_is_asked_of_every_whole_catalogue() -> None:
    needless = a_query("idle", catalogue=METATOOL, source="metatool-awareness")
    rows = within_catalogues([a_query("q", "a/b/c", catalogue="a/b", source="uipath"), needless])
    assert [(row.qid, row.catalogue) for row in rows] == [
        ("q", "a/b"),
        ("idle", METATOOL),
        ("idle", "a/b"),
    ]


def test_a_line_stands_for_every_case_and_a_promise_for_every_tolerance() -> None:
    cases = own_cases(drawn(60, source="own", scope=POOL))
    decisions, promises = lines_of(cases, lambda each: BASE, BASE.id)
    assert [line.rows for line in decisions] == ["present or removed"]
    assert [(line.negatives, line.max_false_load) for line in promises] == list(
        product(["own: right skill removed"], PROMISED)
    )
    strict, _, lax = [line.loads_of_useful for line in promises]
    assert strict <= lax


def a_skill_row(place: str, licence: str | None) -> SkillRow:
    return SkillRow(
        place=place,
        licence=licence,
        near_group=None,
        truncated=False,
        language="en",
        name="n",
        description="d",
    )


def test_only_permissive_licences_may_shape_shipped_weights() -> None:
    licences = {"a/b/c": "MIT", "a/b/d": "GPL-3.0", "a/b/e": None}
    skills = {place: a_skill_row(place, licence) for place, licence in licences.items()}
    allowed = [place for place in licences if may_train(a_query("q", place), skills)]
    assert allowed == ["a/b/c"]


def test_nothing_of_a_held_out_catalogue_shapes_its_policy() -> None:
    queries = [
        *(a_query(f"uipath-{n}", f"a/b/{n}", catalogue="a/b", source="uipath") for n in range(40)),
        *(a_query(f"nvidia-{n}", f"c/d/{n}", catalogue="c/d", source="nvidia") for n in range(40)),
    ]
    splits = {q.qid: list(Split)[n % 2] for n, q in enumerate(queries)}
    assignment = Assignment(
        by_qid=splits, by_knot={}, component={q.qid: q.qid for q in queries}, ties=Ties(twins={})
    )
    labelled = Labelled(queries=tuple(queries), pairs=(), assignment=assignment)
    seen = [
        replace(each, split=splits[each.qid])
        for each in drawn(40, source="uipath", scope="a/b")
        + drawn(40, seed=1, source="nvidia", scope="c/d")
    ]
    # The same request, asked of the catalogue that is held out.
    leaking = [replace(each, scope="a/b", useful=not each.useful) for each in seen[40:]]
    clean, mixed = (without_each(rows, labelled, BASE)["a/b"] for rows in (seen, seen + leaking))
    assert clean == mixed
