"""Confusable skills: found by asking for each in its own words, grouped, and told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.db import open_database
from core.embedding import DEFAULT_ENCODER, load_embedder
from core.errors import NotFoundError, SettingsError
from evaluation import confusable as module
from evaluation.confusable import (
    MARGIN,
    Confusable,
    Group,
    confusable,
    lead,
    masked,
    read_catalogue,
)
from evaluation.own_queries import read_own_queries
from indexer.settings import IndexerSettings
from tests.support import CATALOGUE, EXAMPLES, index_folder

ACME = "acme/skills"
WEIGHTS = {"dense": 0.5, "lexical": 0.5}
LONG_BODY = " ".join(f"step {n} moves the lever to notch {n * n % 17}." for n in range(60))

SKILLS = {
    # path: (name, description, body)
    "crm/orders": ("orders-crm", "Exports open orders of a customer as a spreadsheet.", "Ask."),
    "erp/orders": ("orders-erp", "Exports open orders of a supplier as a spreadsheet.", "Do."),
    "a/bees": ("bees", "Plans the feeding of honey bees over a cold winter.", "Weigh hives."),
    "b/bees": ("bees", "Draws a bee for a children's colouring book.", "Six legs."),
    "a/lathe": ("lathe-setup", "Sets up a lathe for turning brass.", LONG_BODY),
    "b/lathe": ("machine-tool", "Explains gearboxes to apprentices.", LONG_BODY),
    "tide": ("tide-tables", "Reads tide tables for sailors in Brittany.", "High water."),
    "mystery": ("frobnicator", "Frobnicator.", "x"),
}


def write_skills(folder: Path, skills: dict[str, tuple[str, str, str]] = SKILLS) -> Path:
    for path, (name, description, body) in skills.items():
        (folder / path).mkdir(parents=True)
        text = f"---\nname: {name}\ndescription: {description}\n---\n# {name}\n\n{body}\n"
        (folder / path / "SKILL.md").write_text(text)
    return folder


async def found_in(data_dir: Path, catalogue: str) -> Confusable:
    embedder = load_embedder(DEFAULT_ENCODER)
    engine = await open_database(IndexerSettings(data_dir=data_dir).catalogue_url, create=False)
    try:
        entries = await read_catalogue(engine, catalogue, embedder)
    finally:
        await engine.dispose()
    return confusable(catalogue, entries, embedder, WEIGHTS, on_progress=lambda done, total: None)


@pytest.fixture
async def acme(tmp_path: Path) -> Confusable:
    folder = write_skills(tmp_path / "skills")
    await index_folder(IndexerSettings(data_dir=tmp_path / "data"), folder, ACME)
    return await found_in(tmp_path / "data", ACME)


def group_of(found: Confusable, path: str) -> Group:
    (group,) = [g for g in found.groups if f"{ACME}/{path}" in {m.place for m in g.members}]
    return group


async def test_near_equal_descriptions_are_a_group_with_the_words_that_part_them(
    acme: Confusable,
) -> None:
    group = group_of(acme, "crm/orders")
    assert [(m.place, m.own_words) for m in group.members] == [
        (f"{ACME}/crm/orders", ("customer",)),
        (f"{ACME}/erp/orders", ("supplier",)),
    ]
    assert group.pairs[0].reasons == ("near",) and 0 < group.pairs[0].margin < MARGIN
    assert group.advice == ("Descriptions differ only in: customer, supplier.",)
    assert acme.groups[0] == group


async def test_one_name_and_one_body_tie_skills_that_are_described_apart(
    acme: Confusable,
) -> None:
    names, bodies = group_of(acme, "a/bees"), group_of(acme, "b/lathe")
    assert names.pairs[0].reasons == ("same name",) and "Same name" in names.advice[0]
    assert bodies.pairs[0].reasons == ("twin bodies",) and "same body" in bodies.advice[0]


async def test_a_skill_that_stands_alone_is_in_no_group(acme: Confusable) -> None:
    placed = [member.place for group in acme.groups for member in group.members]
    assert f"{ACME}/tide" not in placed and len(placed) == 6 and acme.skills == len(SKILLS)


async def test_a_description_that_only_repeats_the_name_counts_as_none(acme: Confusable) -> None:
    assert acme.undescribed == (f"{ACME}/mystery",)


async def test_equal_descriptions_come_first_and_say_so(tmp_path: Path) -> None:
    text = "Counts the sheep of a flock from a drone picture."
    twins = {"x": ("one-sheep", text, "a b c"), "y": ("two-sheep", text, "d e f")}
    folder = write_skills(tmp_path / "skills", SKILLS | twins)
    await index_folder(IndexerSettings(data_dir=tmp_path / "data"), folder, ACME)
    worst = (await found_in(tmp_path / "data", ACME)).groups[0]
    assert [member.place for member in worst.members] == [f"{ACME}/x", f"{ACME}/y"]
    assert worst.advice == ("Same description: say in each what the others do not do.",)


async def test_a_group_grows_to_its_limit_and_the_pairs_beyond_are_counted(
    acme: Confusable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_MEMBERS", 2)
    text = "Counts the sheep of a flock from a drone picture."
    alike = {f"s{n}": (f"sheep-{n}", text, f"body {n}") for n in range(4)}
    await index_folder(
        IndexerSettings(data_dir=tmp_path / "more"),
        write_skills(tmp_path / "alike", alike),
        ACME,
    )
    found = await found_in(tmp_path / "more", ACME)
    assert [len(group.members) for group in found.groups] == [2, 2]
    assert found.pairs_left_out == 4


def test_the_name_is_taken_out_of_the_question() -> None:
    text = "Tide-tables: reads tide  tables for sailors, not timetables."
    assert masked(text, "tide_tables") == ": reads for sailors, not timetables."
    assert masked("Reads old maps.", "") == "Reads old maps."


@pytest.mark.parametrize("description", ["", "PDF", "Skill: PDF.", "What the pdf skill is for"])
def test_what_says_nothing_beyond_the_name_asks_for_nothing(description: str) -> None:
    assert masked(description, "pdf") == ""


async def test_an_unknown_catalogue_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    settings = IndexerSettings(data_dir=tmp_path / "data")
    await index_folder(settings, write_skills(tmp_path / "skills"), ACME)
    with pytest.raises(NotFoundError, match=r"acme/skills \(8\)"):
        await found_in(tmp_path / "data", "acme/skill")
    with pytest.raises(SettingsError, match=r"--catalogue.*acme/skills \(8\)"):
        await found_in(tmp_path / "data", "")


async def test_the_sample_skills_can_be_told_apart(tmp_path: Path) -> None:
    await index_folder(IndexerSettings(data_dir=tmp_path), EXAMPLES / "skills", CATALOGUE)
    found = await found_in(tmp_path, CATALOGUE)
    assert found.groups == () and found.undescribed == ()


def test_the_example_of_own_queries_is_fifty_rows_over_the_sample_skills() -> None:
    skills = EXAMPLES / "skills"
    places = {
        f"{CATALOGUE}/{file.parent.relative_to(skills).as_posix()}"
        for file in skills.rglob("SKILL.md")
    }
    queries = read_own_queries(EXAMPLES / "own-queries.jsonl", places)
    assert len(queries) == 50 and sum(not query.relevant for query in queries) == 15
    tasks = (EXAMPLES / "tasks.jsonl").read_text()
    assert not any(query.text in tasks for query in queries)
    lengths = [len(query.text.split()) for query in queries]
    assert min(lengths) <= 5 and max(lengths) >= 70
    assert len({query.language for query in queries}) >= 4


def test_a_lead_means_the_same_on_a_low_scale_and_on_a_high_one() -> None:
    assert lead(0.2, 0.1) == pytest.approx(lead(0.8, 0.4)) == pytest.approx(0.5)
    assert lead(0.1, 0.2) < 0
