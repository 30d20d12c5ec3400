"""Retrieval metrics against a plain second implementation, and what twins may not do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.bootstrap import compare
from evaluation.retrieval_metrics import (
    BREAKDOWNS,
    METRICS,
    Scores,
    Standing,
    break_down,
    length_bin,
    score,
    standing,
    summarise,
)
from evaluation.types import Interval
from tests.evaluation.rows import a_query, a_run

PLACES = [f"o/r/s{number}" for number in range(30)]
rankings = st.lists(st.sampled_from(PLACES), unique=True, max_size=30)
needs = st.lists(st.sampled_from(PLACES), unique=True, min_size=1, max_size=4)
groups = st.dictionaries(st.sampled_from(PLACES), st.sampled_from(["g1", "g2", "g3"]))


def one(
    metric: str, places: Sequence[str], relevant: Sequence[str], twins: dict[str, str]
) -> float:
    scores = score([a_query("q", *relevant)], a_run({"q": places}), twins)
    return scores.by_metric[metric]["q"]


def plainly(metric: str, ranked: list[str], needed: set[str]) -> float:
    """A metric by its definition, over groups without repeats."""
    name, cut = metric.split("@")
    hits = [group in needed for group in ranked[: int(cut)]]
    if name == "Hit":
        return float(any(hits))
    if name == "MRR":
        return next((1 / rank for rank, hit in enumerate(hits, start=1) if hit), 0.0)
    if name == "Recall":
        return sum(hits) / len(needed)
    if name == "Coverage":
        return float(sum(hits) == len(needed))
    gain = sum(hit / math.log2(rank + 1) for rank, hit in enumerate(hits, start=1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(needed), int(cut)) + 1))
    return gain / ideal


@given(rankings, needs, groups)
def test_every_metric_agrees_with_its_definition(
    places: list[str], relevant: list[str], twins: dict[str, str]
) -> None:
    scores = score([a_query("q", *relevant)], a_run({"q": places}), twins)
    ranked = list(dict.fromkeys(twins.get(place, place) for place in places))
    needed = {twins.get(place, place) for place in relevant}
    for metric in METRICS:
        for value in scores.by_metric[metric].values():
            assert value == pytest.approx(plainly(metric, ranked, needed)), metric


def test_a_twin_of_the_right_skill_is_right_once() -> None:
    twins = {"o/r/a": "g", "o/r/a2": "g", "o/r/a3": "g"}
    assert one("Hit@1", ["o/r/a2"], ["o/r/a"], twins) == 1
    for metric in ("nDCG@10", "Recall@5"):
        alone = one(metric, ["o/r/a"], ["o/r/a", "o/r/b"], twins)
        assert one(metric, ["o/r/a", "o/r/a2", "o/r/a3"], ["o/r/a", "o/r/b"], twins) == alone


def test_twins_of_a_wrong_skill_take_one_rank_together() -> None:
    twins = {"o/r/x": "g", "o/r/x2": "g"}
    assert one("MRR@10", ["o/r/x", "o/r/x2", "o/r/a"], ["o/r/a"], twins) == 0.5


def test_the_system_s_order_decides_where_its_scores_tie() -> None:
    for places in (["o/r/a", "o/r/b", "o/r/c"], ["o/r/c", "o/r/b", "o/r/a"]):
        assert one("Hit@1", places, [places[0]], {}) == 1


def test_an_empty_ranking_scores_nothing_and_a_short_one_is_no_error() -> None:
    scores = score([a_query("q", "o/r/a")], a_run({"q": []}), {})
    assert {scores.by_metric[metric].get("q", 0) for metric in METRICS} == {0}
    assert one("Recall@50", ["o/r/a"], ["o/r/a"], {}) == 1


def test_coverage_is_for_queries_that_need_several_skills() -> None:
    queries = [a_query("one", "o/r/a"), a_query("two", "o/r/a", "o/r/b")]
    run = a_run({"one": ["o/r/a"], "two": ["o/r/a", "o/r/b"]})
    assert score(queries, run, {}).by_metric["Coverage@10"] == {"two": 1}
    late = ["o/r/a", *(f"o/r/wrong{n}" for n in range(9)), "o/r/b"]  # the second one is eleventh
    run = a_run({"one": late, "two": late})
    assert score(queries, run, {}).by_metric["Coverage@10"] == {"two": 0}
    twins = {"o/r/a": "g", "o/r/b": "g"}  # then one of them is enough
    assert score(queries, run, twins).by_metric["Coverage@10"] == {}


def test_a_run_over_a_catalogue_is_scored_on_its_queries_only() -> None:
    queries = [
        a_query("here", "o/r/a", catalogue="o/r"),
        a_query("there", "x/y/a", catalogue="x/y"),
        a_query("negative", catalogue="o/r"),
    ]
    scores = score(queries, a_run({"here": ["o/r/a"]}, scope="o/r"), {})
    assert scores.by_metric["Hit@1"] == {"here": 1}


def test_a_place_outside_the_scope_is_refused() -> None:
    query = a_query("q", "o/r/a", catalogue="o/r")
    with pytest.raises(ValueError, match="'o/r2/a', which is outside o/r"):
        score([query], a_run({"q": ["o/r2/a"]}, scope="o/r"), {})


def test_a_query_that_was_not_answered_is_no_silent_zero() -> None:
    with pytest.raises(ValueError, match="did not answer 'q'"):
        score([a_query("q", "o/r/a")], a_run({}), {})


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ({}, Standing.MAIN),
        ({"truncated": True}, Standing.TRUNCATED),
        ({"weak_positive": True, "truncated": True}, Standing.WEAK_POSITIVE),
        ({"names_skill": True, "truncated": True}, Standing.NAMES_SKILL),
    ],
)
def test_a_query_is_reported_apart_for_its_gravest_reason(
    flags: dict[str, bool], found: Standing
) -> None:
    assert standing(a_query("q", "o/r/a", **flags)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fix it", "01–04 words"),
        ("one two three four five", "05–08 words"),
        ("word " * 32, "17–32 words"),
        ("word " * 33, "33+ words"),
        ("请帮我运行所有的测试吧", "05–08 words"),
    ],
)
def test_a_query_s_length_is_counted_in_words(text: str, found: str) -> None:
    assert length_bin(a_query("q", text=text)) == found


def hundred_queries() -> tuple[list[str], Scores, Scores]:
    """A ranker that finds the right skill 7 times in 10, and one that ranks at random."""
    qids = [f"q{number}" for number in range(100)]
    good = {
        qid: ["o/r/right", "o/r/wrong"] if n % 10 < 7 else ["o/r/wrong", "o/r/right"]
        for n, qid in enumerate(qids)
    }
    broken = {
        qid: ["o/r/wrong", "o/r/right"] if n % 5 else ["o/r/right"] for n, qid in enumerate(qids)
    }
    queries = [a_query(qid, "o/r/right") for qid in qids]
    return qids, score(queries, a_run(good), {}), score(queries, a_run(broken), {})


def test_a_broken_ranker_is_flagged_as_worse() -> None:
    _, good, broken = hundred_queries()
    for metric in ("Hit@1", "MRR@10", "nDCG@10"):
        assert compare(broken.by_metric[metric], good.by_metric[metric]).verdict == "worse"
    recall = compare(broken.by_metric["Recall@10"], good.by_metric["Recall@10"])
    assert recall.verdict == "no difference"


def test_a_summary_is_over_the_queries_asked_for_only() -> None:
    qids, good, _ = hundred_queries()
    some = [a_query(qid, "o/r/right") for qid in qids[:10]]
    found = summarise(good, some)
    assert found.keys() == set(METRICS)
    assert found["Hit@1"].mean == pytest.approx(0.7)
    assert found["Hit@1"].rows == 10
    assert found["Coverage@10"].rows == 0


def test_a_summary_by_cluster_is_no_surer_than_its_clusters() -> None:
    qids, good, _ = hundred_queries()
    queries = [a_query(qid, "o/r/right") for qid in qids]
    pairs = {qid: str(n % 10) for n, qid in enumerate(qids)}  # each skill all right or all wrong
    plain, clustered = summarise(good, queries), summarise(good, queries, pairs)
    assert width(clustered["Hit@1"]) > 2 * width(plain["Hit@1"])


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_a_breakdown_covers_every_scored_query_once() -> None:
    queries = [
        a_query("q1", "o/r/a", text="short", language="en", source="x"),
        a_query("q2", "o/r/a", "o/r/b", text="word " * 20, language="zh", source="y"),
        a_query("q3", "o/r/b", names_skill=True, source="y"),
        a_query("q4", source="y"),
    ]
    scores = score(queries, a_run({f"q{n}": ["o/r/a"] for n in range(1, 5)}), {})
    parts = {name: break_down(scores, queries, by) for name, by in BREAKDOWNS.items()}
    for found in parts.values():
        assert sum(part["Hit@1"].rows for part in found.values()) == 3
    assert list(parts["standing"]) == ["main", "names_skill"]
    assert list(parts["needed"]) == ["1 skill", "2 skills"]
    assert list(parts["language"]) == ["en", "zh"]
    assert list(parts["length"]) == ["01–04 words", "17–32 words"]
    assert parts["set"]["y"]["Hit@1"].mean == 0.5
