"""THE STORY of a package: source, read, passages, embed, publish, with its feed row."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from core import store
from core.db import read
from core.embedding import Embedder
from core.types import skill_id, text_hash
from indexer import catalog
from indexer.catalog import PreparedSkill
from indexer.package import Package, Unreadable, prepare

OnProgress = Callable[["Report"], None]
Place = tuple[str, str]


@dataclass(slots=True)
class Report:
    """What an ingestion has done so far."""

    seen: int = 0
    published: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    texts_embedded: int = 0
    tokens_embedded: int = 0
    embed_seconds: float = 0.0
    unreadable: list[Unreadable] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def tokens_per_second(self) -> float:
        """Rate of the embedder alone."""
        return self.tokens_embedded / self.embed_seconds if self.embed_seconds else 0.0


async def ingest(
    engine: AsyncEngine,
    embedder: Embedder,
    packages: Iterable[Package | Unreadable],
    *,
    batch_skills: int,
    prune: bool,
    on_progress: OnProgress,
) -> Report:
    """Publish every package that is new or changed, batch by batch, each in one transaction.

    A run that is killed loses the batch in hand; the next run finds the rest unchanged and goes
    on. With `prune`, skills of the catalogues seen that the source no longer holds are withdrawn,
    once the source has been read to its end and nothing in it was unreadable.

    Raises SourceUnreadableError where the source breaks off; what came before it is published.
    """
    report = Report()
    async with read(engine) as connection:
        known = await store.live_derivations(connection)
    places: set[Place] = set()
    fresh = _fresh(packages, known, places, report)
    batches = _batches(fresh, batch_skills)
    ahead = asyncio.create_task(asyncio.to_thread(_next_prepared, batches, embedder))
    try:
        while (batch := await ahead) is not None:
            # The next batch is read and parsed while this one is embedded and written.
            ahead = asyncio.create_task(asyncio.to_thread(_next_prepared, batches, embedder))
            await _publish(engine, embedder, batch, report)
            on_progress(report)
    finally:
        ahead.cancel()
    if prune and not report.unreadable:  # what could not be read may not be gone
        report.withdrawn = await _withdraw_missing(engine, known, places)
    on_progress(report)
    return report


def _fresh(
    packages: Iterable[Package | Unreadable],
    known: Mapping[Place, tuple[str, str]],
    places: set[Place],
    report: Report,
) -> Iterator[Package]:
    """The packages that are not in the catalogue as they are; the others are counted."""
    for package in packages:
        report.seen += 1
        places.add((package.catalogue, package.path))
        if isinstance(package, Unreadable):
            report.unreadable.append(package)
        elif known.get((package.catalogue, package.path)) == (package.digest, package.derivation):
            report.unchanged += 1
        else:
            yield package


def _batches(packages: Iterator[Package], size: int) -> Iterator[list[Package]]:
    batch: dict[Place, Package] = {}
    for package in packages:
        batch[package.catalogue, package.path] = package
        if len(batch) == size:
            yield list(batch.values())
            batch = {}
    if batch:
        yield list(batch.values())


def _next_prepared(
    batches: Iterator[list[Package]], embedder: Embedder
) -> list[PreparedSkill | Unreadable] | None:
    batch = next(batches, None)
    return None if batch is None else prepare(batch, embedder.count_tokens)


async def _publish(
    engine: AsyncEngine,
    embedder: Embedder,
    batch: list[PreparedSkill | Unreadable],
    report: Report,
) -> None:
    skills = [skill for skill in batch if isinstance(skill, PreparedSkill)]
    report.unreadable += [skill for skill in batch if isinstance(skill, Unreadable)]
    for skill in skills:
        report.problems.update(problem.code for problem in skill.draft.problems)
    texts = {
        text_hash(passage.text): passage.text for skill in skills for passage in skill.passages
    }
    vectors = await embed_new(engine, embedder, texts, report)
    result = await catalog.publish(engine, skills, vectors, embedder.space)
    report.published += result.published
    report.unchanged += result.unchanged


async def embed_new(
    engine: AsyncEngine, embedder: Embedder, texts: Mapping[bytes, str], report: Report
) -> dict[bytes, NDArray[np.float16]]:
    """Vectors of those texts that have none in the embedder's space yet, by text hash."""
    async with read(engine) as connection:
        known = await catalog.known_hashes(connection, embedder.space, list(texts))
    new = [key for key in texts if key not in known]
    started = time.perf_counter()
    vectors = await asyncio.to_thread(embedder.embed, [texts[key] for key in new])
    report.embed_seconds += time.perf_counter() - started
    report.texts_embedded += len(new)
    report.tokens_embedded += embedder_tokens(embedder, [texts[key] for key in new])
    return dict(zip(new, vectors.astype(np.float16), strict=True))


def embedder_tokens(embedder: Embedder, texts: list[str]) -> int:
    """Tokens that the embedder reads of `texts`: cut at its window, two markers each."""
    window = embedder.space.max_tokens
    return sum(min(count + 2, window) for count in embedder.count_tokens(texts))


async def _withdraw_missing(
    engine: AsyncEngine, known: Mapping[Place, tuple[str, str]], places: set[Place]
) -> int:
    catalogues = {catalogue for catalogue, _ in places}
    gone = [
        skill_id(catalogue, path)
        for catalogue, path in known
        if catalogue in catalogues and (catalogue, path) not in places
    ]
    return await catalog.withdraw(engine, gone)
