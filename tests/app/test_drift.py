"""Drift: routes unlike the calibration rows are told, others are not, and /metrics shows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.api.dependencies import Parts
from app.main import create_app, open_parts
from app.routing.contract import RouteRequest
from app.routing.drift import EVERY, LEAST, WINDOW, Drift, psi
from app.routing.router import Timings
from app.settings import AppSettings
from reranker.learn.fit_policy import quantiles, rows_of
from reranker.overlap import OverlapReranker
from reranker.policy import CONFIDENCE, FALLBACK, SHIPPED, load_policy

Floats = NDArray[np.float64]

UNIFORM = np.random.default_rng(5).uniform(size=4_000)


def drawn(rows: Floats, routes: int = WINDOW) -> Floats:
    """Routes that are asked what the rows were."""
    return np.random.default_rng(7).choice(rows, routes)


def of_values(**shares: float) -> Floats:
    """4,000 rows; `at_half=0.2` is a fifth of them at a half, the rest is uniform."""
    places = {"at_nought": 0.0, "at_half": 0.5, "at_one": 1.0}
    rows = UNIFORM.copy()
    begin = 0
    for name, share in shares.items():
        end = begin + round(share * len(rows))
        rows[begin:end] = places[name]
        begin = end
    return rows


def drift_from(calibration: Floats) -> Drift:
    """Over one scale with one feature, its quantiles taken as a fit takes them."""
    first = [{"coverage": float(value)} for value in calibration]
    rows = rows_of(first, [True] * len(first), ["a"] * len(first), names=["coverage"])
    known = quantiles(rows, calibration)
    base = load_policy(SHIPPED).scale(FALLBACK)
    return Drift({"mine": base.model_copy(update={"quantiles": known})})


def last_figures(drift: Drift, routes: Iterable[float]) -> Mapping[str, float]:
    """What was told last, if anything, over these routes."""
    told: Mapping[str, float] = {}
    for value in routes:
        told = drift.observe("mine", {"coverage": value, CONFIDENCE: value}) or told
    return told


def last_psi(calibration: Floats, routes: Iterable[float]) -> float:
    figures = last_figures(drift_from(calibration), routes)
    assert figures["coverage"] == figures[CONFIDENCE]
    return figures["coverage"]


@pytest.mark.parametrize("routes", [LEAST, WINDOW])
def test_routes_like_the_calibration_rows_do_not_drift(routes: int) -> None:
    assert last_psi(UNIFORM, drawn(UNIFORM, routes)) < 0.1


def test_routes_unlike_them_drift() -> None:
    shifted = drawn(UNIFORM) + 0.3
    narrower = drawn(UNIFORM) / 4 + 0.4
    for unlike in (shifted, narrower):
        assert last_psi(UNIFORM, unlike) > 0.25


@pytest.mark.parametrize(
    "rows",
    [
        of_values(at_nought=1),
        of_values(at_nought=0.95),
        of_values(at_nought=0.42),
        of_values(at_half=0.37),
        of_values(at_one=0.15),
        of_values(at_nought=0.5, at_one=0.5),
        of_values(at_nought=0.25, at_half=0.25, at_one=0.25),
    ],
)
def test_a_value_that_many_calibration_rows_have_is_no_drift(rows: Floats) -> None:
    assert last_psi(rows, drawn(rows)) < 0.05


def test_more_or_fewer_routes_with_such_a_value_are_drift() -> None:
    mostly, half = of_values(at_nought=0.95), of_values(at_nought=0.5, at_one=0.5)
    assert last_psi(mostly, drawn(of_values(at_nought=0.4))) > 0.25
    assert last_psi(half, drawn(of_values(at_nought=0.9, at_one=0.1))) > 0.25
    assert last_psi(of_values(at_nought=1), [0.2] * LEAST) > 0.25


def test_a_value_meets_its_own_rounded_quantile() -> None:
    assert last_psi(np.full(100, 1 / 3), [1 / 3] * LEAST) == pytest.approx(0)


def test_too_few_routes_tell_nothing_then_every_50th_does() -> None:
    drift = drift_from(UNIFORM)
    told = [bool(last_figures(drift, [0.5])) for _ in range(LEAST + 2 * EVERY)]
    assert [n for n, each in enumerate(told, start=1) if each] == [LEAST, LEAST + EVERY, len(told)]


def test_the_window_forgets() -> None:
    drift = drift_from(UNIFORM)
    assert last_figures(drift, [0.99] * LEAST)["coverage"] > 0.25
    last = drawn(UNIFORM)
    assert last_figures(drift, last)["coverage"] == last_psi(UNIFORM, last)


def test_scales_are_watched_apart_and_only_those_with_quantiles() -> None:
    base = load_policy(SHIPPED).scale(FALLBACK).model_copy(update={"quantiles": {}})
    watched = base.model_copy(update={"quantiles": {"coverage": (0.5,) * 9}})
    drift = Drift({"one": watched, "other": watched, "none": base})
    for _ in range(LEAST - 1):
        for name in ("one", "none", "unheard of"):
            assert not drift.observe(name, {"coverage": 0.5})
    assert not drift.observe("other", {"coverage": 0.5})
    assert not drift.observe("none", {"coverage": 0.5})
    assert drift.observe("one", {"coverage": 0.5}).keys() == {"coverage"}


shares = st.lists(st.floats(0.01, 1), min_size=10, max_size=10).map(
    lambda parts: np.array(parts) / sum(parts)
)


@given(observed=shares, expected=shares)
def test_psi_is_never_negative_and_0_only_for_equal_shares(
    observed: Floats, expected: Floats
) -> None:
    assert psi(expected, expected) == 0
    # ln(a / b) >= (a - b) / a, and no share is above 1: every difference counts its square.
    assert psi(observed, expected) >= ((observed - expected) ** 2).sum() * (1 - 1e-9)


def test_psi_is_that_of_the_definition() -> None:
    known = 0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5)
    assert psi(np.array([0.6, 0.4]), np.array([0.5, 0.5])) == pytest.approx(known)


class OwnName(OverlapReranker):
    """A reranker whose gauge no other test sets."""

    name = "watched"


@pytest.fixture
def settings(indexed_examples: Path, tmp_path: Path) -> AppSettings:
    """Of a server whose policy was calibrated on rows of a coverage that no task can have."""
    shutil.copytree(indexed_examples, tmp_path / "data")
    policy = json.loads(SHIPPED.read_text())
    unlike = {"coverage": [2.0] * 9, CONFIDENCE: [0.5] * 9}
    policy["scales"][OwnName.name] = policy["scales"][FALLBACK] | {"quantiles": unlike}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    # A route that misses the ledger's deadline does not count; none is to on a busy machine.
    return AppSettings(data_dir=tmp_path / "data", policy_file=file, ledger_timeout_s=10)


async def ask(parts: Parts, times: int, **filters: object) -> dict[str, float]:
    """Route so many tasks, then read the gauges of drift by feature."""
    body = {"task": "split a pdf", "filters": filters}
    transport = httpx.ASGITransport(create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
        for _ in range(times):
            (await client.post("/v1/route", json=body)).raise_for_status()
        lines = (await client.get("/metrics")).text.splitlines()
    start, end = 'loadstar_decision_drift{feature="', f'scored_by="{OwnName.name}"}}'
    mine = [line for line in lines if line.startswith(start) and end in line]
    return {line.split('"')[1]: float(line.split()[-1]) for line in mine}


async def test_metrics_show_the_drift_of_recorded_routes_that_found_a_skill(
    settings: AppSettings,
) -> None:
    async with open_parts(settings, OwnName()) as parts:
        unrecorded = RouteRequest(task="split a pdf")
        await parts.router.answer(unrecorded, parts.follower.snapshot, Timings())
        assert not await ask(parts, 1, licences=["Nobody-1.0"])
        assert not await ask(parts, LEAST - 1)
        shown = await ask(parts, 1)
    assert shown.keys() == {"coverage", CONFIDENCE}
    assert shown["coverage"] > 0.25
