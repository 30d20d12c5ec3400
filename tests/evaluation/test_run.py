"""One evaluation over the sample skills: every system in every scope, and what beats what."""

from __future__ import annotations

import json
from pathlib import Path

from app.settings import AppSettings
from evaluation.run import evaluate
from evaluation.systems import open_bench
from evaluation.types import POOL, Query, Split
from indexer.settings import IndexerSettings
from tests.support import CATALOGUE, EXAMPLES, index_folder


def queries() -> list[Query]:
    rows = [json.loads(line) for line in (EXAMPLES / "tasks.jsonl").read_text().splitlines()]
    return [
        Query(
            qid=f"task-{number}",
            text=row["task"],
            relevant=(f"{CATALOGUE}/{row['expected']}",) if row["expected"] else (),
            catalogue=CATALOGUE,
            source="samples",
            split=Split.TEST,
        )
        for number, row in enumerate(rows)
    ]


async def test_every_system_is_scored_within_its_catalogue_and_over_the_pool(
    tmp_path: Path,
) -> None:
    await index_folder(IndexerSettings(data_dir=tmp_path), EXAMPLES / "skills", CATALOGUE)
    asked = queries()
    async with open_bench(AppSettings(data_dir=tmp_path)) as bench:
        clusters = {query.qid: query.qid for query in asked}
        rows = await evaluate(bench, asked, {}, clusters, on_step=lambda step: None)
    scored = {(row.scope, row.system): row for row in rows}
    assert {scope for scope, _ in scored} == {CATALOGUE, POOL}
    positives = sum(bool(query.relevant) for query in asked)
    assert {row.metrics["Hit@1"].rows for row in rows} == {positives}
    hits = {system: row.metrics["Hit@1"].mean for (_, system), row in scored.items()}
    assert hits["router"] > 0.9 and hits["dense"] > 0.8 and hits["rank-bm25"] > 0.5
    assert hits["fused"] > hits["rank-bm25"]
    assert scored[CATALOGUE, "router"].against == "rank-bm25"
    assert all(row.metrics["Recall@50"].mean >= row.metrics["Hit@1"].mean for row in rows)
