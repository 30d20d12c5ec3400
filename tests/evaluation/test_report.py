"""The report: what is weak stands out by rule, nothing is cut, nan never reaches the JSON file."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from evaluation.report import WEAK, as_json, markdown, print_tables, write
from evaluation.result import Evaluation, Part, SetLine
from evaluation.types import Interval
from evaluation.weak import weak_points
from tests.evaluation.findings import (
    EMPTY,
    PROVENANCE,
    SCOPE,
    decided,
    decisions_of,
    promise_of,
    retrieval_of,
)


def same(places: list[str]) -> list[str]:
    return places


def reversed_(places: list[str]) -> list[str]:
    return places[::-1]


def weak_section(text: str) -> str:
    return text.split(f"## {WEAK}")[1].split("\n## ")[0]


def test_a_ranker_that_returns_its_list_reversed_is_named_as_worse_than_bm25() -> None:
    broken = retrieval_of({"rank-bm25": same, "fused": reversed_})
    weak = weak_section(markdown(broken))
    assert f"own in {SCOPE}: fused is worse than rank-bm25 by Hit@1 -0." in weak


def test_a_reranker_that_spoils_a_good_order_is_named_as_worse_than_fused() -> None:
    broken = retrieval_of({"fused": same, "reranked": reversed_})
    assert "reranked is worse than fused" in weak_points(broken)[0]
    assert weak_points(retrieval_of({"fused": reversed_, "reranked": same})) == []


def test_a_ranker_as_good_as_bm25_is_not_named() -> None:
    assert weak_points(retrieval_of({"rank-bm25": same, "fused": same})) == []
    assert "- Nothing, by the rules above." in markdown(retrieval_of({"rank-bm25": same}))


def test_a_reference_that_loses_is_no_weakness() -> None:
    assert weak_points(retrieval_of({"rank-bm25": same, "dense": reversed_})) == []


def test_what_training_gained_has_a_table_of_its_own() -> None:
    trained = retrieval_of({"dense-untuned": reversed_, "lexical": same, "dense": same})
    section = markdown(trained).split("## Trained against untuned encoder")[1].split("\n## ")[0]
    (row,) = (line for line in section.splitlines() if line.startswith("| own"))
    assert f"| {SCOPE} | dense | +0." in row and "better" in row
    assert "Trained against" not in markdown(retrieval_of({"lexical": same, "dense": same}))


def test_a_policy_that_is_always_nearly_sure_is_named_as_overconfident() -> None:
    pushed = decisions_of(decided(300, lambda p: 0.99 if p > 0.3 else p))
    assert "by policy-1: probabilities are overconfident" in weak_section(markdown(pushed))


def test_a_policy_that_tells_its_true_probability_is_not_named() -> None:
    assert weak_points(decisions_of(decided(300))) == []


def test_decisions_that_may_be_chance_are_named() -> None:
    blind = decisions_of(decided(300, lambda p: 0.6 if (p * 1000) % 1 > 0.5 else 0.4))
    assert any("may be chance" in point for point in weak_points(blind))


def test_a_promise_is_named_where_its_bound_lies_above_one_and_a_half_times_it() -> None:
    assert weak_points(promise_of(10, 200, 0.1)) == []
    (broken,) = weak_points(promise_of(30, 200, 0.1))
    assert "30 of 200 negatives loaded, a rate of 0.150" in broken


def test_fewer_than_thirty_rows_are_named() -> None:
    (few,) = weak_points(retrieval_of({"rank-bm25": same, "fused": same}, queries=20))
    assert few == f"Retrieval, own in {SCOPE}: 20 rows, too few to rest on."


def test_the_difference_from_bm25_is_told_of_the_other_system() -> None:
    text = markdown(retrieval_of({"rank-bm25": reversed_, "fused": same}))
    (line,) = [line for line in text.splitlines() if line.startswith("| fused")]
    assert line.endswith("better |") and "+0." in line


def test_the_promise_says_whether_it_was_kept() -> None:
    kept = [markdown(promise_of(loads, 200, 0.1)) for loads in (5, 18, 40)]
    assert [
        next(k for k in ("| yes", "| on these rows", "| no") if k in text) for text in kept
    ] == [
        "| yes",
        "| on these rows",
        "| no",
    ]


def parts_of(*names: str) -> Evaluation:
    nothing = Interval(mean=float("nan"), low=float("nan"), high=float("nan"), rows=0)
    hits = Interval(mean=0.5, low=0.4, high=0.6, rows=40)
    parts = [
        Part(
            by="needed",
            part=name,
            scope="catalogue",
            system=system,
            metrics={"Hit@1": hits, "Coverage@10": nothing},
        )
        for name in names
        for system in ("rank-bm25", "fused")
    ]
    return replace(EMPTY, parts=tuple(parts))


def test_parts_stand_side_by_side_and_a_metric_without_rows_is_left_out() -> None:
    text = markdown(parts_of("1 skill", "2 skills"))
    assert "| 1 skill | 40 | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] |" in text
    assert "All needed skills" not in text


def test_a_breakdown_into_one_part_is_no_table() -> None:
    assert "By skills needed" not in markdown(parts_of("1 skill"))


def a_set_line(chosen: str, exactly_one: float) -> SetLine:
    return SetLine(
        rows="several skills needed",
        source="written-tasks",
        chosen=chosen,
        full_coverage=Interval(mean=0.25, low=0.125, high=0.375, rows=40),
        coverage=Interval(mean=0.5, low=0.4, high=0.6, rows=40),
        exactly_one=exactly_one,
        skills=2.5,
        tokens=1234.4,
    )


def test_sets_of_skills_are_a_table_with_their_figures() -> None:
    lines = (a_set_line("set", 0.1), a_set_line("as many from the top", 0.2))
    section = markdown(replace(EMPTY, sets=lines)).split("## Sets of skills")[1].split("\n## ")[0]
    assert (
        "| several skills needed | written-tasks | set | 40 | 0.250 [0.125, 0.375] "
        "| 0.500 [0.400, 0.600] | 0.100 | 2.50 | 1,234 |"
    ) in section
    assert "| as many from the top | 40 |" in section


def test_without_sets_of_skills_there_is_no_such_table() -> None:
    assert "Sets of skills" not in markdown(EMPTY)
    assert as_json(EMPTY)["sets"] == []


def test_auroc_is_told_with_its_interval() -> None:
    found = decisions_of(decided(300))
    interval = found.decisions[0].report.auroc_interval
    shown = f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    assert f"| {shown} |" in markdown(found)


def test_rows_apart_are_a_table_of_their_own_and_the_rest_only_where_it_is_less() -> None:
    found = retrieval_of({"rank-bm25": list})
    (row,) = found.retrieval
    rest = replace(row, standing="main")
    named = replace(row, standing="names_skill")
    assert "none of these" not in markdown(replace(found, retrieval=(row, rest, named)))
    fewer = replace(rest, metrics={name: replace(i, rows=9) for name, i in row.metrics.items()})
    text = markdown(replace(found, retrieval=(row, fewer, named)))
    assert "| none of these | own |" in text and "| the query names its skill | own |" in text


def test_the_json_holds_null_for_nan_and_at_most_200_points_of_a_curve() -> None:
    found = as_json(replace(decisions_of(decided(900)), promises=promise_of(0, 0, 0.1).promises))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["promises"][0]["loads_of_useful"] is None
    curve = found["decisions"][0]["report"]["risk_coverage"]
    assert len(curve["risk"]) == len(curve["coverage"]) == 200 and curve["coverage"][-1] == 1
    assert found["decisions"][0]["report"]["calibration"]["verdict"] == "calibrated"


def test_what_is_written_links_its_own_plots(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    written = write(retrieval_of({"rank-bm25": same, "fused": same}), folder)
    assert {path.name for path in written} == {"report.md", "report.json", "retrieval.png"}
    assert "](retrieval.png)" in (folder / "report.md").read_text()


def test_an_empty_evaluation_is_a_report_of_where_it_comes_from(tmp_path: Path) -> None:
    assert [path.name for path in write(EMPTY, tmp_path)] == ["report.md", "report.json"]
    assert PROVENANCE.command in (tmp_path / "report.md").read_text()


def test_printed_tables_are_not_cut_at_the_width_of_a_pipe() -> None:
    piped = Console(file=io.StringIO(), width=40)
    print_tables(retrieval_of({"rank-bm25": same, "fused": same}), piped)
    assert isinstance(piped.file, io.StringIO)
    lines = piped.file.getvalue().splitlines()
    assert any("system" in line and "Hit@1 against BM25 [95 %]" in line for line in lines)
    assert "…" not in piped.file.getvalue() and "\x1b" not in piped.file.getvalue()


def test_a_strange_name_breaks_no_table() -> None:
    found = retrieval_of({"rank-bm25": same})
    odd = replace(found, retrieval=(replace(found.retrieval[0], system="a|b\n[bold]c"),))
    assert "| a\\|b [bold]c |" in markdown(odd)
