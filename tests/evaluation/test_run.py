"""One evaluation over the sample skills: every system in every scope, and what beats what."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.settings import AppSettings
from evaluation.bootstrap import compare
from evaluation.prepare import Material
from evaluation.provenance import provenance
from evaluation.retrieval_metrics import COMPARED, score
from evaluation.run import (
    Table,
    comparisons,
    distinct,
    evaluate,
    overall,
    parts,
    queries_within,
    rows,
    tabulate,
)
from evaluation.systems import Bench, System, open_bench
from evaluation.types import POOL, Query, Ranking, Split
from indexer.settings import IndexerSettings
from tests.evaluation.rows import a_query, a_run
from tests.support import CATALOGUE, EXAMPLES, index_folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    settings = IndexerSettings(data_dir=folder)
    asyncio.run(index_folder(settings, EXAMPLES / "skills", CATALOGUE))
    return folder


@pytest.fixture
async def bench(data_dir: Path) -> AsyncIterator[Bench]:
    async with open_bench(AppSettings(data_dir=data_dir)) as bench:
        yield bench


def sample_queries() -> list[Query]:
    tasks = [json.loads(line) for line in (EXAMPLES / "tasks.jsonl").read_text().splitlines()]
    return [
        Query(
            qid=f"task-{number}",
            text=row["task"],
            relevant=(f"{CATALOGUE}/{row['expected']}",) if row["expected"] else (),
            catalogue=CATALOGUE,
            source="samples",
            split=Split.TEST,
        )
        for number, row in enumerate(tasks)
    ]


def material(*queries: Query, **others: Any) -> Material:
    fields: dict[str, Any] = {
        "queries": queries,
        "labelled": None,
        "twins": {},
        "clusters": {query.qid: query.qid for query in queries},
        "whole": frozenset({CATALOGUE}),
        **others,
    }
    return Material(**fields)


def reversed_order(system: System) -> System:
    """The same system, broken: it answers with its worst skill first."""

    async def answer(task: str) -> Ranking:
        found = await system.answer(task)
        return replace(found, places=found.places[::-1])

    return replace(system, name=f"{system.name}-reversed", answer=answer)


async def test_every_system_is_scored_within_its_catalogue_and_over_the_pool(
    bench: Bench, tmp_path: Path
) -> None:
    asked = sample_queries()
    source = provenance(
        bench, command="loadstar eval", files=[], split="test", split_checksum="", pool="quick"
    )
    steps: list[str] = []
    found = await evaluate(bench, material(*asked), source, tmp_path, on_step=steps.append)
    headline = [row for row in found.retrieval if row.standing == "unnamed"]
    scored = {(row.scope, row.system): row for row in headline}
    both = {"lexical", "dense-description", "dense", "fused", "reranked"}
    assert scored.keys() == {(CATALOGUE, system) for system in both | {"rank-bm25"}} | {
        (POOL, system) for system in both | {"bm25s"}
    }
    positives = sum(bool(query.relevant) for query in asked)
    assert {row.metrics["Hit@1"].rows for row in headline} == {positives}
    hits = {system: row.metrics["Hit@1"].mean for (_, system), row in scored.items()}
    assert hits["reranked"] > 0.9 and hits["dense"] > 0.8 and hits["rank-bm25"] > 0.5
    assert hits["fused"] > hits["rank-bm25"]
    assert all(row.p95_ms >= row.p50_ms > 0 for row in headline)
    assert len(found.comparisons) == 2 * 15 * len(COMPARED)  # every two of six, in both scopes
    assert {part.scope for part in found.parts} == {"catalogue", POOL}
    assert any("reranked over pool" in step for step in steps)


async def test_a_broken_ranker_comes_out_worse_than_every_other(bench: Bench) -> None:
    asked = [query for query in sample_queries() if query.relevant]
    systems = [bench.lexical(CATALOGUE), bench.dense(CATALOGUE)]
    systems.append(reversed_order(systems[1]))
    table = await tabulate(asked, systems, {}, on_step=lambda _: None)
    found = comparisons(table, {query.qid: query.qid for query in asked})
    broken = [row for row in found if row.other == "dense-reversed"]
    assert {(row.one, row.metric) for row in broken} == {
        (system, metric) for system in ("lexical", "dense") for metric in COMPARED
    }
    # "better" is said of `one`; the lexical arm leaves out what shares no word with the task.
    assert {row.verdict for row in broken if row.metric != "Recall@50"} == {"better"}
    table = await tabulate(asked, systems[::-1], {}, on_step=lambda _: None)
    turned = comparisons(table, {query.qid: query.qid for query in asked})
    worse = [row for row in turned if row.one == "dense-reversed" and row.metric == "Hit@1"]
    assert [row.verdict for row in worse] == ["worse", "worse"]


async def test_a_comparison_is_that_of_the_paired_bootstrap_by_cluster(bench: Bench) -> None:
    asked = [query for query in sample_queries() if query.relevant]
    systems = [bench.lexical(CATALOGUE), bench.dense(CATALOGUE)]
    table = await tabulate(asked, systems, {}, on_step=lambda _: None)
    clusters = {query.qid: query.relevant[0] for query in asked}
    lexical, dense = table.scores
    for row in comparisons(table, clusters):
        alone = compare(
            lexical.by_metric[row.metric], dense.by_metric[row.metric], clusters=clusters
        )
        assert row.difference.mean == pytest.approx(alone.interval.mean)
        assert row.difference.low == pytest.approx(alone.interval.low)
        assert row.difference.high == pytest.approx(alone.interval.high)
        assert row.verdict == alone.verdict


def test_all_sets_together_are_compared_within_and_over_the_pool() -> None:
    first = [a_query(f"a{n}", "o/a/x", source="a", catalogue="o/a") for n in range(3)]
    again = replace(first[2], qid="again", source="c")  # counted once
    first.append(again)
    second = [a_query("b0", "o/b/x", source="b", catalogue="o/b")]
    weak = [a_query("w0", "o/c/x", source="w", weak_positive=True)]
    clusters = {query.qid: query.qid for query in (*first, *second, *weak)}

    def table(scope: str, queries: list[Query], right: dict[str, int]) -> Table:
        """`right` by system: how many of the first queries it answers rightly."""
        runs = [
            a_run(
                {
                    q.qid: q.relevant if n < hits else [f"{q.relevant[0]}-not"]
                    for n, q in enumerate(queries)
                },
                scope=scope,
                system=system,
            )
            for system, hits in right.items()
        ]
        scores = [score(queries, each, {}) for each in runs]
        return Table(scope=scope, queries=queries, runs=runs, scores=scores)

    within = table("o/a", first, {"other": 3, "dense": 1, "fused": 2})
    other = table("o/b", second, {"dense": 0, "fused": 1})
    pool = table(POOL, [*first, *second, *weak], {"dense": 0, "fused": 1})
    found = {
        (each.scope, each.one, each.other): each.difference
        for each in overall([within, other, pool], clusters)
        if each.metric == "Hit@1"
    }
    assert found.keys() == {("catalogues", "dense", "fused"), (POOL, "dense", "fused")}
    assert found["catalogues", "dense", "fused"].mean == pytest.approx(1 / 4 - 3 / 4)
    assert found[POOL, "dense", "fused"].mean == pytest.approx(-1 / 4)
    assert found[POOL, "dense", "fused"].rows == 4
    assert overall([within], clusters) == []  # one set is compared as it is


async def test_rows_that_are_apart_are_left_out_of_headline_comparisons_and_breakdowns(
    bench: Bench,
) -> None:
    main, cut, named, *_ = (query for query in sample_queries() if query.relevant)
    asked = [main, replace(cut, truncated=True), replace(named, names_skill=True)]
    clusters = {query.qid: query.qid for query in asked}
    systems = [bench.lexical(POOL), bench.dense(POOL)]
    table = await tabulate(asked, systems, {}, on_step=lambda _: None)
    counted = {row.standing: row.metrics["Hit@1"].rows for row in rows(table, clusters)}
    assert counted == {"unnamed": 2, "main": 1, "truncated": 1, "names_skill": 1}
    assert {row.difference.rows for row in comparisons(table, clusters)} == {2}
    in_parts: Counter[str] = Counter()
    for part in parts([table], clusters):
        if part.system == "lexical":
            in_parts[part.by] += part.metrics["Hit@1"].rows
    assert in_parts == {"standing": 3, "set": 2, "length": 2, "language": 2, "needed": 2}


def test_a_query_of_two_sets_counts_once_where_sets_are_put_together() -> None:
    one = a_query("a", "o/r/s", text="merge it", source="authors")
    again = replace(one, qid="b", source="collected")
    other = replace(one, qid="c", relevant=("o/r/t",))
    assert distinct([one, again, other]) == [one, other]


def test_a_catalogue_is_scored_within_where_it_is_whole_and_has_rows_enough() -> None:
    def some(source: str, catalogue: str, count: int, **others: Any) -> list[Query]:
        return [
            a_query(f"{source}-{catalogue}-{n}", f"{catalogue}/s", catalogue=catalogue,
                    source=source, **others)
            for n in range(count)
        ]  # fmt: skip

    asked = [
        *some("single", "o/whole", 3),
        *some("spread", "o/many", 10),
        *some("spread", "o/few", 9),
        *some("partly", "o/part", 20),
        *some("weak", "o/weak", 20, weak_positive=True),
    ]
    whole = frozenset({"o/whole", "o/many", "o/few", "o/weak"})
    found = queries_within(asked, material(*asked, whole=whole))
    assert {name: len(queries) for name, queries in found.items()} == {"o/many": 10, "o/whole": 3}


async def test_negatives_alone_have_no_retrieval_score(bench: Bench, tmp_path: Path) -> None:
    asked = [query for query in sample_queries() if not query.relevant]
    source = provenance(bench, command="", files=[], split="", split_checksum="", pool="")
    found = await evaluate(bench, material(*asked), source, tmp_path, on_step=lambda _: None)
    assert asked and (found.retrieval, found.comparisons, found.parts) == ((), (), ())
