"""`loadstar eval`: how good retrieval is, on labelled queries over an indexed data folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stderr, stdout
from core.errors import ModelMissingError
from core.settings import load_settings

EXAMPLE = "Example: loadstar eval --data ../shared/data --data-dir .loadstar/bench"

SHOWN = ("Hit@1", "MRR@10", "Recall@10", "Recall@50")


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of the labelled files and skills.jsonl.xz.")],
    split: Annotated[str, typer.Option(help="Rows to score: train, calibration, test.")] = "test",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Score every system within catalogues and over everything indexed, with intervals."""
    settings = load_settings(
        AppSettings, **given(data_dir=data_dir, database_url=database_url, encoder=encoder)
    )
    rows = asyncio.run(_evaluate(settings, data, split))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        figures = "  ".join(
            f"{name} {row[name]['mean']:.3f} [{row[name]['low']:.3f}, {row[name]['high']:.3f}]"
            for name in SHOWN
        )
        verdict = f"  Hit@1 {row['verdict']} than {row['against']}" if row["verdict"] else ""
        stdout.print(
            f"{row['source']} in {row['scope']} ({row['rows']} rows)  {row['system']}  {figures}  "
            f"p50 {row['p50_ms']:.0f} ms{verdict}"
        )


async def _evaluate(settings: AppSettings, data: Path, split: str) -> list[dict[str, Any]]:
    try:
        from evaluation import run
        from evaluation.datasets import read_labelled, read_skills, twins_of
        from evaluation.systems import open_bench
    except ImportError as error:
        raise ModelMissingError(
            "loadstar eval needs the extra `eval`: pip install 'loadstar[eval]'."
        ) from error
    skills = read_skills(data)
    labelled = read_labelled(data, skills)
    async with open_bench(settings) as bench:
        indexed = set(bench.places.values())
        queries = [
            query
            for query in labelled.queries
            if query.split == split and query.relevant and indexed.issuperset(query.relevant)
        ]
        rows = await run.evaluate(
            bench,
            queries,
            twins_of(skills),
            labelled.assignment.component,
            on_step=lambda step: stderr.print(step),
        )
    return [
        {
            "source": row.source,
            "scope": row.scope,
            "system": row.system,
            "rows": row.metrics["Hit@1"].rows,
            "p50_ms": row.p50_ms,
            "against": row.against,
            "verdict": row.verdict,
        }
        | {
            name: {"mean": found.mean, "low": found.low, "high": found.high}
            for name, found in row.metrics.items()
        }
        for row in rows
    ]
