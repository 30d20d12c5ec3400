"""Prepare what is evaluated: rows read and checked, their skills indexed as any others are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from core.db import open_database, read
from core.embedding import load_embedder
from core.tables import skill_rows
from core.tables import skills as skill_table
from evaluation.datasets import (
    METATOOL,
    SKILLS_FILE,
    DatasetError,
    Labelled,
    Skills,
    ToolRow,
    read_labelled,
    read_metatool_tools,
    read_skills,
    twins_of,
)
from evaluation.own_queries import read_own_queries
from evaluation.pool import quick_pool
from evaluation.retrieval_metrics import Twins
from evaluation.split import Ties, assign
from evaluation.systems import Bench
from evaluation.types import Place, Query, Split, TriggerPair, catalogue_of
from evaluation.written import written_queries, written_together
from indexer.ingest import Report, ingest
from indexer.package import SKILL_FILE, Package, Unreadable
from indexer.rebuild import rebuild_if_due
from indexer.reembed import embed_missing
from indexer.settings import IndexerSettings
from indexer.sources import open_source
from reranker.learn.examples import read_tasks

LABELLED_FILES = (
    "routing_queries.jsonl",
    "skill_prompts.jsonl",
    "trigger_evals.jsonl",
    "metatool_awareness.jsonl",
    "metatool_reliability.jsonl",
    "metatool_tools.jsonl",
)

WHOLE_SETS = frozenset({"uipath", "nvidia", "salesforce", "salesforce-variants"})
"""Sets that one catalogue holds whole: it is kept whole in the quick pool too."""

PoolName = Literal["quick", "full"]
OnProgress = Callable[[str, int, int, str], None]
"""Told the stage, how much of it is done, how much there is, and a detail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What one evaluation is made over."""

    queries: tuple[Query, ...]  # that are reported, negatives included; their skills are indexed
    labelled: Labelled | None  # every row, for what is fitted; None for an operator's own file
    twins: Twins
    clusters: Mapping[str, str]  # by qid: what is tied together, and so no independent draw
    whole: frozenset[str]  # catalogues of which every skill is indexed
    pairs: tuple[TriggerPair, ...] = ()  # of a task and one skill, reported too
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The development folder, read, and which of its skills make the pool."""

    folder: Path
    pool: PoolName
    skills: Skills
    labelled: Labelled
    written: tuple[Query, ...]  # of every split; no part of what the committed split speaks of
    places: frozenset[Place]

    @property
    def files(self) -> list[Path]:
        """Every file that was read."""
        return [self.folder / name for name in (SKILLS_FILE, *LABELLED_FILES)]


def read_verified(folder: Path, pool: PoolName, committed: Mapping[str, Any]) -> Prepared:
    """The development folder's skills and rows, in the split that `committed` speaks of.

    Raises DatasetError where a file is missing, or the rows fall into another split: figures
    over other rows could not be compared with the published ones.
    """
    for name in (SKILLS_FILE, *LABELLED_FILES):
        if not (folder / name).is_file():
            raise DatasetError(f"{folder} lacks {name}: --data names the folder of all the files")
    skills = read_skills(folder)
    labelled = read_labelled(folder, skills)
    if (found := labelled.assignment.checksum()) != committed["checksum"]:
        raise DatasetError(
            f"The rows in {folder} do not fall into the committed split: its checksum is "
            f"{committed['checksum'][:12]}…, theirs is {found[:12]}…. Restore the files."
        )
    written = written_queries(read_tasks(), skills, labelled.assignment)
    whole = pool == "full"
    return Prepared(
        folder=folder,
        pool=pool,
        skills=skills,
        labelled=labelled,
        written=tuple(written),
        places=frozenset(skills) if whole else _quick_pool(skills, labelled, written),
    )


def _quick_pool(skills: Skills, labelled: Labelled, written: Sequence[Query]) -> frozenset[Place]:
    holders = {query.catalogue for query in labelled.queries if query.source in WHOLE_SETS}
    held_out = (query for query in written if query.split is not Split.TRAIN)
    rows = (*labelled.rows, *held_out)
    return quick_pool(skills, rows, whole=[name for name in holders if name])


async def index_pool(
    prepared: Prepared, settings: IndexerSettings, *, on_progress: OnProgress
) -> Report:
    """Index the pool's skills, and the MetaTool tools as a catalogue of their own.

    What is there unchanged is not embedded again; what the dump no longer holds is withdrawn.
    """
    embedder = load_embedder(settings.encoder, threads=settings.threads, streams=settings.threads)
    tools = [_tool_package(tool) for tool in read_metatool_tools(prepared.folder)]
    total = len(prepared.places) + len(tools)
    engine = await open_database(settings.catalogue_url, create=True)
    try:
        report = await ingest(
            engine,
            embedder,
            _packages(prepared, tools),
            batch_skills=settings.batch_skills,
            prune=True,
            on_progress=lambda now: on_progress(
                "skills", now.seen, total, f"{now.tokens_per_second:,.0f} tokens/s"
            ),
        )
        await embed_missing(
            engine,
            embedder,
            report,
            on_progress=lambda done, of: on_progress("passages in a new space", done, of, ""),
        )
        # Nothing is left to the delta, so that every run searches the same files.
        await rebuild_if_due(
            engine,
            embedder,
            settings.model_copy(update={"rebuild_after": 1}),
            force=False,
            on_progress=lambda done, of: on_progress("generation", done, of, ""),
        )
    finally:
        await engine.dispose()
    return report


def _packages(prepared: Prepared, tools: Sequence[Package]) -> Iterator[Package | Unreadable]:
    for package in open_source(prepared.folder / SKILLS_FILE, None):
        if isinstance(package, Unreadable) or _place(package) in prepared.places:
            yield package
    yield from tools


def _tool_package(tool: ToolRow) -> Package:
    front = f"name: {json.dumps(tool.name)}\ndescription: {json.dumps(tool.description)}"
    return Package(
        catalogue=METATOOL,
        path=tool.place.removeprefix(f"{METATOOL}/"),
        files={SKILL_FILE: f"---\n{front}\n---\n{tool.body}".encode()},
        licence="MIT",
        language="en",
    )


def _place(package: Package) -> Place:
    return f"{package.catalogue}/{package.path}" if package.path else package.catalogue


def labelled_material(bench: Bench, prepared: Prepared, split: Split) -> Material:
    """The rows of one split, over a bench that holds the pool.

    Raises DatasetError where it holds other skills too: figures would name another pool.
    """
    indexed = {place for place in bench.places.values() if catalogue_of(place) not in bench.apart}
    if others := indexed - prepared.places:
        raise DatasetError(
            f"{len(others)} skills are indexed that are not of this pool, such as "
            f"{min(others)!r}: choose a --data-dir of its own"
        )
    everything = (*prepared.labelled.queries, *prepared.written)
    rows = [query for query in everything if query.split is split]
    queries = tuple(query for query in rows if bench.rows.keys() >= set(query.relevant))
    missing = len(rows) - len(queries)
    return Material(
        queries=queries,
        pairs=tuple(pair for pair in prepared.labelled.pairs if pair.split is split),
        labelled=prepared.labelled,
        twins=twins_of(prepared.skills),
        clusters={
            **prepared.labelled.assignment.component,
            **written_together(prepared.written),
        },
        whole=frozenset(map(catalogue_of, indexed))
        - {catalogue_of(place) for place in prepared.skills.keys() - indexed},
        notes=(f"{missing} rows are left out: their skills are not indexed",) if missing else (),
    )


async def own_material(bench: Bench, file: Path) -> Material:
    """An operator's own rows over the operator's own skills, every catalogue of them whole.

    Only skills with the same files, byte for byte, are twins: which near copies would serve a
    task alike, only the operator can say. Raises DatasetError where nothing is indexed, or a row
    cannot be used.
    """
    if not bench.places:
        raise DatasetError(
            "nothing is indexed here: run `loadstar index` first, or name --data-dir"
        )
    queries = read_own_queries(file, bench.rows.keys())
    catalogues = frozenset(map(catalogue_of, bench.rows))
    twins = await _same_files(bench)
    return Material(
        queries=tuple(queries),
        labelled=None,
        twins=twins,
        clusters=assign(queries, Ties(twins=twins, split_inside=catalogues)).component,
        whole=catalogues,
    )


async def _same_files(bench: Bench) -> dict[Place, str]:
    live = select(skill_table.c.live_row, skill_rows.c.digest).join(
        skill_rows, skill_rows.c.row == skill_table.c.live_row
    )
    async with read(bench.parts.engine) as connection:
        found = (await connection.execute(live)).all()
    holders = Counter(digest for _, digest in found)
    return {bench.places[row]: digest for row, digest in found if holders[digest] > 1}
