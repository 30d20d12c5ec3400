"""Calibration of one catalogue: its promises hold on its rows, where it is, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app, open_parts
from app.routing.second_stage import PARTIAL
from app.settings import AppSettings
from core.background import BACKGROUND_QUERIES
from core.embedding import load_embedder
from core.errors import NotFoundError
from core.types import SkillVersion
from evaluation.calibrating import (
    ASKED_WORDS,
    FEWEST_LABELLED,
    OWN_SKILLS,
    Calibrated,
    calibrate,
    calibrated,
    own_words,
)
from evaluation.datasets import DatasetError
from evaluation.decisions import judge
from evaluation.observations import Condition, Observation
from indexer.settings import IndexerSettings
from reranker.learn.fit_policy import ALPHAS
from reranker.load import OWN_RERANKER
from reranker.policy import (
    EVERYTHING,
    FALLBACK,
    SHIPPED,
    UNCALIBRATED,
    Policy,
    Promise,
    Surroundings,
    load_policy,
)
from tests.app.test_select import version
from tests.evaluation.rows import write_lines
from tests.evaluation.test_confusable import write_skills
from tests.evaluation.test_decisions import drawn
from tests.support import EXAMPLES, index_folder

WEB, MEDIA = "acme/web", "acme/media"
POLICY = load_policy(SHIPPED)


async def indexed(folder: Path, *catalogues: str) -> AppSettings:
    """Sample skills of one field each, over which an answer is scored by words."""
    settings = IndexerSettings(data_dir=folder, encoder="hashing")
    for catalogue in catalogues:
        field = EXAMPLES / "skills" / catalogue.split("/")[1]
        await index_folder(settings, field, catalogue)
    return AppSettings(data_dir=folder, encoder="hashing", reranker=FALLBACK)


@pytest.fixture(scope="module")
def by_words(tmp_path_factory: pytest.TempPathFactory) -> AppSettings:
    return asyncio.run(indexed(tmp_path_factory.mktemp("by-words"), WEB, MEDIA))


async def made(
    settings: AppSettings, catalogue: str | None = WEB, file: Path | None = None
) -> Calibrated:
    return await calibrate(settings, catalogue, file, on_step=lambda _: None)


async def served(
    settings: AppSettings, policy: Policy, folder: Path, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What a server with this policy answers."""
    file = folder / "served.json"
    file.write_text(policy.model_dump_json())
    async with open_parts(settings.model_copy(update={"policy_file": file})) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            answer: dict[str, Any] = (await client.post("/v1/route", json=asked)).json()
            return answer


def rows_of(found: Calibrated, scored_by: str = FALLBACK) -> str:
    return found.own[scored_by].negatives


async def test_every_way_to_score_gets_promises_of_the_catalogue_which_are_served_there_alone(
    tmp_path: Path,
) -> None:
    indexing = IndexerSettings(data_dir=tmp_path / "data")
    for catalogue in (WEB, MEDIA):
        folder = EXAMPLES / "skills" / catalogue.split("/")[1]
        await index_folder(indexing, folder, catalogue)
    settings = AppSettings(data_dir=tmp_path / "data")
    found = await made(settings)
    file = tmp_path / "policy.json"
    file.write_text(found.policy.model_dump_json())
    policy = load_policy(file)
    assert policy == found.policy and policy.id != POLICY.id
    assert found.own.keys() == {OWN_RERANKER, OWN_RERANKER + PARTIAL, FALLBACK}
    for scored_by, own in found.own.items():
        assert policy.scales[scored_by].catalogues == {WEB: own}
        assert own.negatives == (
            f"background queries (no skill expected) {len(BACKGROUND_QUERIES)}, "
            "own skills (right skill hidden) 4"
        )
        assert own.false_load[0].max_false_load == 0.2  # the strictest that four rows can show
        kept = policy.scale(scored_by).model_copy(update={"catalogues": {}})
        assert kept == POLICY.scale(scored_by)  # weights and thresholds stay

    encoder = load_embedder(settings.encoder).space.revision
    assert {own.encoder for own in found.own.values()} == {encoder}
    within, elsewhere = [
        {"task": "audit our shop", "filters": {"catalogues": [each]}} for each in (WEB, MEDIA)
    ]
    said = await served(settings, found.policy, tmp_path, within)
    assert said["calibration"] == found.own[said["scored_by"]].calibration
    said = await served(settings, found.policy, tmp_path, elsewhere)
    assert said["calibration"] not in {own.calibration for own in found.own.values()}


async def test_without_a_catalogue_everything_is_calibrated(by_words: AppSettings) -> None:
    found = await made(by_words, None)
    assert found.catalogue == EVERYTHING
    assert found.policy.scale(FALLBACK).catalogues == {EVERYTHING: found.own[FALLBACK]}
    assert rows_of(found).endswith("own skills (right skill hidden) 8")


async def test_where_there_is_one_catalogue_everything_is_that_one(tmp_path: Path) -> None:
    settings = await indexed(tmp_path, WEB)
    found = await made(settings, None)
    assert found.catalogue == WEB
    answer = await served(settings, found.policy, tmp_path, {"task": "audit our shop"})
    assert answer["calibration"] == found.own[FALLBACK].calibration


async def test_the_same_catalogue_gives_the_same_promises(by_words: AppSettings) -> None:
    assert await made(by_words) == await made(by_words)


async def test_a_large_catalogue_is_asked_for_the_same_sample_of_its_skills(
    tmp_path: Path,
) -> None:
    skills = {
        f"s{n:03}": (f"skill-{n}", f"Repairs valve {n} of pump {n * n} in the boiler room.", "Do.")
        for n in range(OWN_SKILLS + 10)
    }
    indexing = IndexerSettings(data_dir=tmp_path / "data", encoder="hashing")
    await index_folder(indexing, write_skills(tmp_path / "skills", skills), WEB)
    settings = AppSettings(data_dir=tmp_path / "data", encoder="hashing", reranker=FALLBACK)
    found = await made(settings)
    assert rows_of(found).endswith(f"own skills (right skill hidden) {OWN_SKILLS}")
    assert found == await made(settings)


async def test_earlier_promises_of_another_catalogue_are_kept(
    by_words: AppSettings, tmp_path: Path
) -> None:
    first = await made(by_words, MEDIA)
    file = tmp_path / "policy.json"
    file.write_text(first.policy.model_dump_json())
    second = await made(by_words.model_copy(update={"policy_file": file}), WEB)
    kept = second.policy.scale(FALLBACK).catalogues
    assert kept == {MEDIA: first.own[FALLBACK], WEB: second.own[FALLBACK]}


def own_rows(folder: Path, positives: int, nulls: int) -> Path:
    rows: list[Mapping[str, str | None]] = [
        {"query": f"task {n}: audit the web pages", "expected": f"{WEB}/web-accessibility-audit"}
        for n in range(positives)
    ]
    rows += [{"query": f"thanks, that is {n} so far", "expected": None} for n in range(nulls)]
    return write_lines(folder / "own.jsonl", rows)


async def test_the_owners_rows_are_all_asked_of_the_catalogue(
    by_words: AppSettings, tmp_path: Path
) -> None:
    found = await made(by_words, WEB, own_rows(tmp_path, positives=30, nulls=20))
    assert rows_of(found) == "own (no skill expected) 20, own (right skill hidden) 30"
    assert found.own[FALLBACK].skills == 4
    strictest = found.own[FALLBACK].false_load[0].max_false_load
    assert strictest == min(alpha for alpha in ALPHAS if alpha >= 1 / 21)


async def test_too_few_rows_of_the_owner_are_refused(by_words: AppSettings, tmp_path: Path) -> None:
    few = own_rows(tmp_path, positives=FEWEST_LABELLED - 1, nulls=0)
    with pytest.raises(DatasetError, match="49 rows; a calibration takes 50 or more"):
        await made(by_words, WEB, few)


async def test_rows_of_another_catalogue_are_refused(by_words: AppSettings, tmp_path: Path) -> None:
    rows = own_rows(tmp_path, positives=60, nulls=0)
    with pytest.raises(DatasetError, match="line 1: no skill 'acme/web/web-accessibility-audit'"):
        await made(by_words, MEDIA, rows)


async def test_an_unknown_catalogue_is_answered_with_those_there_are(by_words: AppSettings) -> None:
    with pytest.raises(NotFoundError, match=f"'no/such' with skills. There are {MEDIA}, {WEB}"):
        await made(by_words, "no/such")


async def test_a_skill_without_siblings_gives_no_promise_on_small_talk_alone(
    tmp_path: Path,
) -> None:
    settings = AppSettings(data_dir=tmp_path, encoder="hashing", reranker=FALLBACK)
    indexing = IndexerSettings(data_dir=tmp_path, encoder="hashing")
    await index_folder(indexing, EXAMPLES / "skills" / "web" / "rest-api-design", WEB)
    with pytest.raises(DatasetError, match="background queries alone"):
        await made(settings)


def useless(count: int, source: str, seed: int, scored_by: str = FALLBACK) -> list[Observation]:
    kind = Condition.NEGATIVE if source == "nulls" else Condition.REMOVED
    around = Surroundings(encoder="e", skills=300, background=0.2, catalogue=WEB)
    return [
        replace(each, source=source, useful=False, condition=kind, scored_by=scored_by,
                around=around)
        for each in drawn(count, seed=seed)
    ]  # fmt: skip


def loaded(rows: Sequence[Observation], policy: Policy, threshold: float) -> int:
    """Of the rows, by the router's own decision functions."""
    return sum(judge(each, policy).p_useful >= threshold for each in rows)


def keeps(kinds: Sequence[Sequence[Observation]], policy: Policy, line: Promise) -> bool:
    """The rank rule of split conformal prediction, in each kind of rows."""
    return all(
        loaded(rows, policy, line.threshold) + 1 <= line.max_false_load * (len(rows) + 1) + 1e-9
        for rows in kinds
    )


@pytest.mark.parametrize(("nulls", "hidden"), [(40, 40), (99, 7), (12, 150)])
def test_each_threshold_is_the_lowest_that_keeps_the_rank_rule_in_each_kind_of_rows(
    nulls: int, hidden: int
) -> None:
    kinds = [useless(nulls, "nulls", 1), useless(hidden, "hidden", 2)]
    found = calibrated([row for rows in kinds for row in rows], POLICY, WEB)
    lines = found.own[FALLBACK].false_load
    fewest = min(nulls, hidden)
    assert [line.max_false_load for line in lines] == [a for a in ALPHAS if a >= 1 / (fewest + 1)]
    for line in lines:
        lower = line.model_copy(update={"threshold": line.threshold - 2e-6})
        assert keeps(kinds, found.policy, line)
        assert not keeps(kinds, found.policy, lower)


def test_null_rows_do_not_water_down_what_is_promised_of_hidden_skills() -> None:
    hidden = useless(60, "hidden", 2)
    alone = calibrated(hidden, POLICY, WEB).own[FALLBACK].false_load
    easy = [
        replace(row, source="hidden", condition=Condition.NEGATIVE, skills=(
            replace(row.skills[0], features=dict.fromkeys(row.skills[0].features, -9.0)),
        ))
        for row in useless(500, "nulls", 3)
    ]  # fmt: skip
    assert calibrated([*hidden, *easy], POLICY, WEB).own[FALLBACK].false_load == alone


def test_useful_and_unchecked_rows_promise_nothing() -> None:
    rows = useless(60, "hidden", 2)
    further = [replace(row, useful=True, condition=Condition.PRESENT) for row in rows]
    further += [replace(row, weak=True) for row in useless(60, "nulls", 1)]
    assert calibrated([*rows, *further], POLICY, WEB) == calibrated(rows, POLICY, WEB)
    with pytest.raises(DatasetError, match="No row shows"):
        calibrated(further, POLICY, WEB)


def test_rows_of_each_scale_promise_on_it_alone() -> None:
    by_model = useless(40, "hidden", 1, OWN_RERANKER)
    cut_off = useless(30, "hidden", 2, OWN_RERANKER + PARTIAL)
    together = calibrated([*by_model, *cut_off], POLICY, WEB).own
    assert together.keys() == {OWN_RERANKER, OWN_RERANKER + PARTIAL}
    assert together[OWN_RERANKER] == calibrated(by_model, POLICY, WEB).own[OWN_RERANKER]
    assert together[OWN_RERANKER + PARTIAL].calibration.startswith("30 rows")


def test_a_partial_scale_that_orders_otherwise_than_its_rows_is_promised_nothing() -> None:
    other = POLICY.scale(OWN_RERANKER + PARTIAL).model_copy(update={"rerank_weight": 0.9})
    scales = {**POLICY.scales, OWN_RERANKER + PARTIAL: other}
    policy = POLICY.model_copy(update={"scales": scales})
    rows = useless(40, "hidden", 1, OWN_RERANKER) + useless(40, "hidden", 1, OWN_RERANKER + PARTIAL)
    found = calibrated(rows, policy, WEB)
    assert found.own.keys() == {OWN_RERANKER}
    assert found.policy.scales[OWN_RERANKER + PARTIAL] == other


def test_a_reranker_that_nothing_was_fitted_for_has_the_catalogues_promises_and_no_others() -> None:
    found = calibrated(useless(40, "hidden", 1, "st:mine"), POLICY, WEB)
    around = Surroundings(encoder="e", skills=300, background=0.2, catalogue=WEB)
    within = found.policy.scale_in("st:mine", around)
    assert within.calibration == found.own["st:mine"].calibration
    elsewhere = found.policy.scale_in("st:mine", replace(around, catalogue=MEDIA))
    assert (elsewhere.calibration, elsewhere.false_load) == (UNCALIBRATED, ())


def test_what_is_written_is_json_that_any_reader_takes() -> None:
    found = calibrated(useless(40, "hidden", 1), POLICY, WEB)
    held = json.loads(found.policy.model_dump_json())["scales"][FALLBACK]["catalogues"][WEB]
    assert held.keys() == {"calibration", "false_load", "negatives", "encoder", "skills"}


def described(name: str, description: str) -> SkillVersion:
    return replace(version(1), name=name, description=description)


@pytest.mark.parametrize(
    ("description", "asked"),
    [
        ("Tide tables: reads when water is high in port.", ": reads when water is high in port."),
        ("Reads tide-tables for sailors in Brittany.", "Reads for sailors in Brittany."),
        ("Plans routes for sailors. Use it at sea.", "Plans routes for sailors."),
        ("Tide tables.", ""),
        ("Helps with tide tables.", ""),
        ("", ""),
    ],
)
def test_a_skill_is_asked_for_by_its_first_sentence_without_its_name(
    description: str, asked: str
) -> None:
    assert own_words(described("tide-tables", description)) == asked


def test_a_skill_is_asked_for_in_as_many_words_as_a_task_has() -> None:
    long = " ".join(f"word{n}" for n in range(80))
    assert own_words(described("x", long)).split() == long.split()[:ASKED_WORDS]


def test_what_a_skill_is_not_for_is_not_asked_for() -> None:
    text = "NOT for trains or buses. Plans routes for sailors at sea."
    assert own_words(described("x", text)) == "Plans routes for sailors at sea."
