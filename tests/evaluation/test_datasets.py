"""The loaders, over a small folder of the same form."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation import datasets
from evaluation.pool import quick_pool
from evaluation.types import Split
from tests.evaluation.rows import a_query, a_skill, write_lines

CUT = "acme/skills/deploy"
WHOLE = "acme/skills/test"
TWIN = "other/mirror/test"
TOOL = f"{datasets.METATOOL}/Weather"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(
        tmp_path / "skills.jsonl.xz",
        [
            a_skill(CUT, truncated=True, license=None),
            a_skill(WHOLE, near_group="g"),
            a_skill(TWIN, near_group="g", description=None),
        ],
    )
    routing = {"catalogue": "acme/skills", "names_skill": False, "needs_skill": True}
    write_lines(
        tmp_path / "routing_queries.jsonl",
        [
            routing | {"qid": "r1", "text": "ship my app", "relevant": [CUT], "set": "acme"},
            routing | {"qid": "r2", "text": "check it", "relevant": [WHOLE], "set": "acme"},
            routing | {"qid": "r3", "text": "bake bread", "relevant": [], "set": "nvidia-none"},
        ],
    )
    write_lines(
        tmp_path / "skill_prompts.jsonl",
        [
            {"skill_id": TWIN, "prompt": "请帮我运行测试", "labelled": False, "names_skill": False},
            {"skill_id": CUT, "prompt": "use deploy", "labelled": True, "names_skill": True},
        ],
    )
    write_lines(
        tmp_path / "trigger_evals.jsonl",
        [{"skill_id": CUT, "query": "what is it?", "should_load": False, "names_skill": False}],
    )
    write_lines(
        tmp_path / "metatool_awareness.jsonl",
        [{"qid": "a1", "text": "will it rain?", "relevant": ["Weather"], "set": "awareness"}],
    )
    write_lines(
        tmp_path / "metatool_reliability.jsonl",
        [
            {
                "qid": "m1",
                "text": "will it snow?",
                "relevant": [],
                "withheld_tool": "Weather",
                "candidates": ["Maps"],
            }
        ],
    )
    write_lines(
        tmp_path / "metatool_tools.jsonl",
        [{"id": "Weather", "name": "Weather", "description": "d", "body": "b", "merged": False}],
    )
    return tmp_path


@pytest.fixture
def labelled(folder: Path) -> datasets.Labelled:
    return datasets.read_labelled(folder, datasets.read_skills(folder))


def test_a_skill_is_read_without_its_body_and_the_body_on_demand(folder: Path) -> None:
    skills = datasets.read_skills(folder)
    assert skills[CUT].truncated
    assert skills[CUT].licence is None
    assert skills[TWIN].description == ""
    assert dict(datasets.read_bodies(folder, {WHOLE})) == {WHOLE: "# test"}
    assert len(list(datasets.read_bodies(folder))) == 3


def test_every_file_becomes_queries_or_pairs(labelled: datasets.Labelled) -> None:
    queries = {query.qid: query for query in labelled.queries}
    assert queries.keys() == {"r1", "r2", "r3", "prompt-0001", "prompt-0002", "a1", "m1"}
    assert [query.qid for query in labelled.queries if query.truncated] == ["r1", "prompt-0002"]
    assert queries["r3"].weak_negative
    assert queries["prompt-0001"].weak_positive
    assert queries["prompt-0001"].language == "zh"
    assert queries["prompt-0001"].catalogue == "other/mirror"
    assert queries["prompt-0002"].names_skill
    assert queries["a1"].relevant == (TOOL,)
    assert queries["m1"].withheld == (TOOL,)
    assert queries["m1"].candidates == (f"{datasets.METATOOL}/Maps",)
    assert [(pair.qid, pair.place, pair.should_load) for pair in labelled.pairs] == [
        ("trigger-0001", CUT, False)
    ]


def test_every_row_carries_the_split_it_was_assigned(labelled: datasets.Labelled) -> None:
    assert len(labelled.rows) == 8
    for row in labelled.rows:
        assert row.split is labelled.assignment.by_qid[row.qid]


def test_what_is_tied_goes_together(labelled: datasets.Labelled) -> None:
    split = labelled.assignment.by_qid
    assert split["r2"] == split["prompt-0001"]  # twins
    assert split["r1"] == split["prompt-0002"] == split["trigger-0001"]  # one skill
    assert split["a1"] == split["m1"]  # one tool
    assert labelled.assignment.component["r1"] != labelled.assignment.component["r2"]


def test_a_row_that_was_not_assigned_is_never_learned_from(folder: Path) -> None:
    rows = datasets.read_routing_queries(folder, datasets.read_skills(folder))
    assert {row.split for row in rows} == {Split.TEST}


def test_every_row_has_a_source(labelled: datasets.Labelled) -> None:
    assert labelled.sources.keys() == labelled.assignment.by_qid.keys()


def test_the_tools_have_the_places_that_the_queries_name(folder: Path) -> None:
    assert [tool.place for tool in datasets.read_metatool_tools(folder)] == [TOOL]


def many_skills(folder: Path) -> datasets.Skills:
    rows = [a_skill(f"owner/repo{n % 9}/s{n}", near_group=f"g{n // 4}") for n in range(200)]
    write_lines(folder / "skills.jsonl.xz", rows)
    return datasets.read_skills(folder)


def test_the_quick_pool_holds_what_rows_need_with_twins_and_whole_catalogues(
    tmp_path: Path,
) -> None:
    skills = many_skills(tmp_path)
    pool = quick_pool(skills, [a_query("q", "owner/repo0/s0")], whole={"owner/repo5"}, size=60)
    assert len(pool) == 60
    assert {place for place, row in skills.items() if row.near_group == "g0"} <= pool
    assert {place for place in skills if place.startswith("owner/repo5/")} <= pool


def test_the_quick_pool_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    skills = many_skills(tmp_path)
    turned = dict(reversed(list(skills.items())))
    assert quick_pool(skills, [], size=20) == quick_pool(turned, [], size=20)
    assert quick_pool(skills, [], size=20) < quick_pool(skills, [], size=40)
