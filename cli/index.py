"""`loadstar index`: packages in, a new generation out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from cli.progress import Bars
from core.db import open_database
from core.embedding import load_embedder
from core.settings import load_settings
from indexer.ingest import Report, ingest
from indexer.rebuild import rebuild_if_due
from indexer.reembed import embed_missing
from indexer.settings import IndexerSettings
from indexer.sources import count_packages, open_source

EXAMPLE = "Example: loadstar index examples/skills --catalogue acme/skills"

SHOWN_UNREADABLE = 20


def index(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Folder tree of skill packages, or .jsonl/.jsonl.xz/.jsonl.gz dump. Without one, "
            "the catalogue is brought up to the encoder in force."
        ),
    ] = None,
    catalogue: Annotated[
        str | None, typer.Option(help="owner/name of a folder's catalogue.")
    ] = None,
    prune: Annotated[
        bool, typer.Option(help="Withdraw skills of the catalogues seen that are gone from SOURCE.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option(help="Build a new generation even where few skills changed.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Read skill packages, embed what is new, and publish. Killed, it goes on where it was."""
    settings = load_settings(
        IndexerSettings,
        **given(data_dir=data_dir, database_url=database_url, encoder=encoder),
    )
    summary = asyncio.run(_index(settings, source, catalogue, prune, rebuild))
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)


async def _index(
    settings: IndexerSettings, source: Path | None, catalogue: str | None, prune: bool, force: bool
) -> dict[str, Any]:
    started = time.perf_counter()
    embedder = load_embedder(settings.encoder, threads=settings.threads, streams=settings.threads)
    engine = await open_database(settings.catalogue_url, create=True)
    try:
        report = Report()
        with Bars() as bars:
            if source is not None:
                packages = open_source(source, catalogue)
                total = count_packages(source)
                report = await ingest(
                    engine,
                    embedder,
                    packages,
                    batch_skills=settings.batch_skills,
                    prune=prune,
                    on_progress=lambda now: bars.show("skills", now.seen, total, _rate(now)),
                )
            await embed_missing(
                engine,
                embedder,
                report,
                on_progress=lambda done, total: bars.show(
                    "passages in a new space", done, total, _rate(report)
                ),
            )
            generation = await rebuild_if_due(
                engine,
                embedder,
                settings,
                force=force,
                on_progress=lambda done, total: bars.show("generation", done, total),
            )
    finally:
        await engine.dispose()
    return _summary(report, generation, embedder.space.id, time.perf_counter() - started)


def _rate(report: Report) -> str:
    failures = f", {len(report.unreadable)} unreadable" if report.unreadable else ""
    return f"{report.tokens_per_second:,.0f} tokens/s{failures}"


def _summary(report: Report, generation: str, space: str, seconds: float) -> dict[str, Any]:
    return {
        "seen": report.seen,
        "published": report.published,
        "unchanged": report.unchanged,
        "withdrawn": report.withdrawn,
        "unreadable": [
            {"catalogue": each.catalogue, "path": each.path, "reason": each.reason}
            for each in report.unreadable
        ],
        "problems": dict(report.problems.most_common()),
        "texts_embedded": report.texts_embedded,
        "tokens_embedded": report.tokens_embedded,
        "tokens_per_second": round(report.tokens_per_second),
        "space": space,
        "generation": generation,
        "seconds": round(seconds, 1),
    }


def _print_summary(summary: dict[str, Any]) -> None:
    stdout.print(
        f"{summary['seen']} packages: {summary['published']} published, "
        f"{summary['unchanged']} unchanged, {summary['withdrawn']} withdrawn, "
        f"{len(summary['unreadable'])} unreadable, in {summary['seconds']} s"
    )
    if summary["texts_embedded"]:
        stdout.print(
            f"{summary['texts_embedded']} passages embedded, {summary['tokens_embedded']} tokens "
            f"at {summary['tokens_per_second']} tokens/s"
        )
    for each in summary["unreadable"][:SHOWN_UNREADABLE]:
        stdout.print(f"unreadable: {each['catalogue']} {each['path']}: {each['reason']}")
    if summary["problems"]:
        found = ", ".join(f"{code} {count}" for code, count in summary["problems"].items())
        stdout.print(f"problems in SKILL.md files: {found}")
    stdout.print(f"generation {summary['generation']} in space {summary['space']}")
