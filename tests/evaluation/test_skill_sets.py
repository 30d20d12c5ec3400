"""Sets of skills: what is in them, what they cost, and how they compare with the top."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.routing.needs import ADDED_FROM, MOST_SKILLS
from app.settings import AppSettings
from evaluation.prepare import Material
from evaluation.result import SetLine
from evaluation.skill_sets import (
    BUDGETS,
    SEVERAL,
    SINGLE,
    Answered,
    covered,
    lines_of,
    members,
    set_lines,
    within,
)
from evaluation.systems import open_bench
from evaluation.written import TASKS
from indexer.settings import IndexerSettings
from reranker.policy import FALLBACK
from tests.evaluation.routed import a_routed_skill
from tests.evaluation.rows import a_query
from tests.support import CATALOGUE, EXAMPLES, index_folder

A, B, C = (f"acme/skills/{name}" for name in "abc")


def test_the_first_skill_is_a_member_and_those_that_add_something() -> None:
    first = a_routed_skill("a", p=0.1)
    adds, hardly = a_routed_skill("b", p=ADDED_FROM), a_routed_skill("c", p=ADDED_FROM - 0.01)
    assert members([first, adds, hardly]) == [first, adds]
    assert members([first, hardly, adds]) == [first, adds]
    assert members([]) == []


def test_a_set_is_no_larger_than_the_routers() -> None:
    skills = [a_routed_skill(f"s{n}", p=0.9) for n in range(MOST_SKILLS + 3)]
    assert members(skills) == skills[:MOST_SKILLS]


def test_a_skill_that_costs_too_much_is_left_out_and_a_later_one_is_not() -> None:
    cheap, dear, last = (
        a_routed_skill(path, body=body) for path, body in (("a", 400), ("b", 700), ("c", 600))
    )
    assert within([cheap, dear, last], 1_000) == [cheap, last]
    assert within([cheap, dear, last], 999) == [cheap]
    assert within([cheap, dear, last], 399) == []


def test_a_twin_covers_its_own_once() -> None:
    query = a_query("q", A, B)
    a, b, c = (a_routed_skill(path) for path in "abc")
    assert covered(query, [a, b], {}) == 1
    assert covered(query, [a, c], {}) == 0.5
    assert covered(query, [], {}) == 0
    assert covered(query, [a, c], {B: "group", C: "group"}) == 1
    assert covered(a_query("q", A, C), [b], {A: "g", B: "g", C: "g"}) == 1


def test_a_skill_stands_for_the_twins_that_were_collapsed_into_it() -> None:
    query = a_query("q", "other/skills/x", A)
    assert covered(query, [a_routed_skill("c", twins=("x",))], {}) == 0.5


def test_a_catalogue_that_is_one_skill_is_its_own_place() -> None:
    assert covered(a_query("q", "acme/one"), [a_routed_skill("", catalogue="acme/one")], {}) == 1


def two_tasks() -> list[Answered]:
    """Needs a and b, where the set holds both and the top a and c; and needs c, which the set
    misses and the top has first."""
    a, b = a_routed_skill("a", body=300), a_routed_skill("b", body=1_500)
    c = a_routed_skill("c", body=900)
    return [
        Answered(query=a_query("one", A, B), ranked=[a, c, b], members=[a, b]),
        Answered(query=a_query("two", C), ranked=[c, a, b], members=[a]),
    ]


def by_way(rows: str) -> dict[str, SetLine]:
    clusters = {"one": "one", "two": "two"}
    return {line.chosen: line for line in lines_of(rows, "set", two_tasks(), {}, clusters)}


def test_a_set_is_set_against_as_many_skills_from_the_top() -> None:
    lines = by_way(SINGLE)
    assert lines.keys() == {"set", "as many from the top"}
    chosen, top = lines["set"], lines["as many from the top"]
    assert (chosen.full_coverage.mean, chosen.coverage.mean) == (0.5, 0.5)
    assert (top.full_coverage.mean, top.coverage.mean) == (0.5, 0.75)
    assert (chosen.exactly_one, chosen.skills, chosen.tokens) == (0.5, 1.5, (1_800 + 300) / 2)
    assert (top.exactly_one, top.skills, top.tokens) == (0.5, 1.5, (1_200 + 900) / 2)
    assert chosen.coverage.rows == 2 and (chosen.rows, chosen.source) == (SINGLE, "set")


def test_where_several_are_needed_both_also_spend_the_same_tokens() -> None:
    lines = by_way(SEVERAL)
    assert len(lines) == 2 + 2 * len(BUDGETS)
    cut, top = lines["set, 1,000 tokens"], lines["top, 1,000 tokens"]
    assert (cut.coverage.mean, cut.tokens, cut.skills) == (0.25, 300, 1)
    assert (top.coverage.mean, top.tokens, top.skills) == (0.75, (300 + 900) / 2, 1)
    whole = lines["top, 4,000 tokens"]
    assert (whole.full_coverage.mean, whole.tokens) == (1, 2_700)


def test_tasks_of_one_cluster_are_no_independent_draws() -> None:
    answered = [
        replace(each, query=replace(each.query, qid=f"q{n}"))
        for n, each in enumerate(two_tasks() * 15)
    ]
    alone = {each.query.qid: each.query.qid for each in answered}
    tied = {each.query.qid: str(each.query.relevant) for each in answered}
    apart, together = (
        next(lines_of(SINGLE, "set", answered, {}, clusters)).coverage for clusters in (alone, tied)
    )
    assert together.mean == apart.mean
    assert together.high - together.low > 2 * (apart.high - apart.low)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> AppSettings:
    folder = tmp_path_factory.mktemp("sets")
    return AppSettings(data_dir=folder, encoder="hashing", reranker=FALLBACK)


async def test_every_line_of_a_bench_has_rows_and_tokens(settings: AppSettings) -> None:
    indexing = IndexerSettings(data_dir=settings.data_dir, encoder="hashing")
    await index_folder(indexing, EXAMPLES / "skills" / "documents", CATALOGUE)
    merge, fill = f"{CATALOGUE}/pdf-merge-split", f"{CATALOGUE}/pdf-form-filling"
    text = "Merge the signed contracts into one PDF. Then fill in the form for the registry."
    queries = (
        a_query("long", merge, fill, text=text, source=TASKS),
        a_query("short", merge, text="merge the contracts", source="uipath", catalogue=CATALOGUE),
        a_query("named", merge, text="pdf merge split", source=TASKS, names_skill=True),
        a_query("weak", merge, text="contracts", source=TASKS, weak_positive=True),
        a_query("other", merge, text="contracts", source="elsewhere"),
        a_query("none", text="thank you", source="uipath", catalogue=CATALOGUE),
    )
    material = Material(
        queries=queries,
        labelled=None,
        twins={},
        clusters={query.qid: query.qid for query in queries},
        whole=frozenset({CATALOGUE}),
    )
    steps: list[str] = []
    async with open_bench(settings) as bench:
        found = await set_lines(bench, material, on_step=steps.append)
    assert steps == ["sets of skills: 2 tasks"]
    assert {(line.rows, line.source) for line in found} == {(SEVERAL, TASKS), (SINGLE, "uipath")}
    assert len(found) == 2 + 2 + 2 * len(BUDGETS)
    for line in found:
        assert line.coverage.rows == line.full_coverage.rows == 1
        assert line.tokens > 0 and line.skills >= 1
    (all_of_them,) = (line for line in found if line.chosen == "top, 4,000 tokens")
    assert (all_of_them.full_coverage.mean, all_of_them.skills) == (1, 4)
