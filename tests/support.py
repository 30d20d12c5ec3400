"""What several test modules build: a data folder, indexed as the command line would."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.db import open_database
from core.embedding import load_embedder
from indexer.ingest import Report, ingest
from indexer.rebuild import rebuild_if_due
from indexer.reembed import embed_missing
from indexer.settings import IndexerSettings
from indexer.sources import open_source

EXAMPLES = Path(__file__).parents[1] / "examples"
CATALOGUE = "loadstar/examples"


async def index_folder(
    settings: IndexerSettings, folder: Path, catalogue: str, *, prune: bool = False
) -> Report:
    """What `loadstar index FOLDER --catalogue …` does."""
    embedder = load_embedder(settings.encoder)
    engine = await open_database(settings.catalogue_url, create=True)
    try:
        report = await ingest(
            engine,
            embedder,
            open_source(folder, catalogue),
            batch_skills=settings.batch_skills,
            prune=prune,
            on_progress=lambda _: None,
        )
        await embed_missing(engine, embedder, report, on_progress=lambda done, total: None)
        await rebuild_if_due(
            engine, embedder, settings, force=False, on_progress=lambda done, total: None
        )
    finally:
        await engine.dispose()
    return report


def index_skill(root: Path, text: str) -> Path:
    """A data folder below `root` with one skill, `acme/skills`, of this SKILL.md."""
    folder = root / "skills" / "only"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)
    settings = IndexerSettings(data_dir=root / "data")
    asyncio.run(index_folder(settings, root / "skills", "acme/skills"))
    return root / "data"
