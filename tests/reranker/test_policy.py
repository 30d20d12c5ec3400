"""The policy file: what is accepted and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ModelMissingError
from reranker.policy import (
    FALLBACK,
    SHIPPED,
    UNCALIBRATED,
    Coverage,
    OwnCalibration,
    Promise,
    Surroundings,
    load_policy,
)

# More similarity must never mean less use.
FALLING = {"bias": 0, "weights": {"dense_lift": -1, "coverage": 1}}
PROMISE = {"max_false_load": 0.1, "threshold": 0.9}


def test_the_shipped_policy_names_its_rows_and_promises_something() -> None:
    for shipped in load_policy(SHIPPED).scales.values():
        assert "rows: metatool" in shipped.calibration and "useless rows" in shipped.negatives
        assert 0.1 in {line.max_false_load for line in shipped.false_load}


def test_a_reranker_that_nothing_was_fitted_for_orders_by_itself_and_promises_nothing() -> None:
    policy = load_policy(SHIPPED)
    unknown, fallback = policy.scale("st:mine"), policy.scale(FALLBACK)
    assert (unknown.calibration, unknown.rerank_weight) == (UNCALIBRATED, 1.0)
    assert (unknown.false_load, unknown.weights) == ((), fallback.weights)


AROUND = Surroundings(encoder="e", skills=300, background=0.2, catalogue="acme/skills")
COVERS = Coverage(encoder="e", skills=(30, 1_000), background=(0.15, 0.35))
OWN = OwnCalibration(
    calibration="60 own rows",
    false_load=(Promise(max_false_load=0.1, threshold=0.7),),
    negatives="own",
    encoder="e",
)


def test_surroundings_unlike_the_fit_are_promised_nothing() -> None:
    policy = load_policy(SHIPPED).model_copy(update={"covers": COVERS})
    assert policy.scale_in(FALLBACK, AROUND) == policy.scale(FALLBACK)
    found = policy.scale_in(FALLBACK, replace(AROUND, skills=90_000))
    assert (found.calibration, found.false_load) == (UNCALIBRATED, ())
    assert found.weights == policy.scale(FALLBACK).weights


def test_a_catalogue_that_was_calibrated_keeps_its_own_promises() -> None:
    policy = load_policy(SHIPPED)
    scale = policy.scale(FALLBACK).model_copy(update={"catalogues": {"acme/skills": OWN}})
    policy = policy.model_copy(update={"covers": COVERS, "scales": {FALLBACK: scale}})
    for around in (AROUND, replace(AROUND, skills=90_000)):
        found = policy.scale_in(FALLBACK, around)
        assert (found.calibration, found.false_load) == (OWN.calibration, OWN.false_load)
    elsewhere = policy.scale_in(FALLBACK, replace(AROUND, catalogue="acme/other"))
    assert elsewhere.calibration == scale.calibration
    other_encoder = policy.scale_in(FALLBACK, replace(AROUND, encoder="other"))
    assert other_encoder.calibration == UNCALIBRATED


@pytest.mark.parametrize(("seen", "held"), [(150, True), (600, True), (149, False), (601, False)])
def test_own_promises_end_where_a_filter_or_growth_changes_what_is_seen(
    seen: int, held: bool
) -> None:
    own = OWN.model_copy(update={"skills": 300})
    policy = load_policy(SHIPPED)
    scale = policy.scale(FALLBACK).model_copy(update={"catalogues": {"acme/skills": own}})
    policy = policy.model_copy(update={"covers": COVERS, "scales": {FALLBACK: scale}})
    found = policy.scale_in(FALLBACK, replace(AROUND, skills=seen))
    assert found.calibration == (own.calibration if held else scale.calibration)


def test_a_missing_policy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"gone\.json"):
        load_policy(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"load": 2}, "load"),
        ({"consider": 0.99}, "consider"),
        ({"typo": 1}, "typo"),
        (FALLING, "dense_lift"),
        ({"weights": {"charm": 1}}, "charm"),
        ({"calibration": UNCALIBRATED}, "uncalibrated"),
        (
            {
                "calibration": "some rows",
                "false_load": [PROMISE, {"max_false_load": 0.2, "threshold": 0.95}],
            },
            "laxer",
        ),
        ({"quantiles": {"charm": [0.5] * 9}}, "charm"),
        ({"quantiles": {"coverage": [0.5] * 8}}, "coverage"),
        ({"quantiles": {"coverage": [0.5] * 8 + [0.4]}}, "coverage"),
    ],
)
def test_a_wrong_scale_is_refused_with_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    content = json.loads(SHIPPED.read_text())
    content["scales"][FALLBACK] |= change
    assert named in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"typo": 1}, "typo"),
        ({"arm_weights": {"dense": 0}}, "arm_weights"),
        ({"scales": {}}, FALLBACK),
    ],
)
def test_a_wrong_policy_is_refused_with_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    assert named in refusal(tmp_path, json.loads(SHIPPED.read_text()) | change)


def refusal(folder: Path, content: dict[str, Any]) -> str:
    file = folder / "policy.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ModelMissingError) as refused:
        load_policy(file)
    return refused.value.detail


def test_a_torn_policy_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(SHIPPED.read_text()[:40])
    with pytest.raises(ModelMissingError, match="not valid"):
        load_policy(file)
