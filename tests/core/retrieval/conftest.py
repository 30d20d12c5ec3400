"""Small synthetic skills and generations made of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.retrieval.delta import Delta
from core.retrieval.generation import Generation, build
from core.retrieval.view import View
from core.types import IndexedPassage, IndexRow, Space, Trust, Vectors

DIMENSION = 16
WORDS = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in "nprstvz"]

MakeRow = Callable[..., IndexRow]
MakeRows = Callable[..., list[IndexRow]]
Publish = Callable[..., Generation]
MakeView = Callable[..., View]


@pytest.fixture(scope="session")
def space() -> Space:
    return Space(
        model="test",
        revision="1",
        pooling="mean",
        max_tokens=128,
        precision="fp32",
        passage_format="p1",
        dimension=DIMENSION,
    )


def unit_vectors(rng: np.random.Generator, count: int) -> Vectors:
    vectors: Vectors = rng.standard_normal((count, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture(scope="session")
def vectors() -> Callable[[int, int], Vectors]:
    """`vectors(seed, count)`: random unit vectors."""
    return lambda seed, count: unit_vectors(np.random.default_rng(seed), count)


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """`make_row(7, name=...)`: a plain row with the given fields; `vectors` become passages."""

    def make(row: int, vectors: Sequence[Any] | None = None, **fields: Any) -> IndexRow:
        plain = {
            "skill_id": f"skl_{row}",
            "catalogue": "acme/tools",
            "name": f"skill-{row}",
            "description": "",
            "triggers": (),
            "body": "",
            "licence": "MIT",
            "language": "en",
            "tags": (),
            "trust": Trust.SCREENED,
            "routable": True,
        }
        passages = tuple(
            IndexedPassage(section="", vector=np.asarray(vector, dtype=np.float16))
            for vector in (
                unit_vectors(np.random.default_rng(row), 1) if vectors is None else vectors
            )
        )
        return IndexRow(row=row, passages=passages, **{**plain, **fields})

    return make


@pytest.fixture(scope="session")
def make_rows(make_row: MakeRow) -> MakeRows:
    """`make_rows(40, seed=1, first=100)`: varied rows with 1-5 passages and Zipfian words."""

    def make(count: int, *, seed: int = 0, first: int = 0) -> list[IndexRow]:
        rng = np.random.default_rng(seed)
        weights = 1 / np.arange(1, len(WORDS) + 1)

        def text(length: int) -> str:
            return " ".join(rng.choice(WORDS, length, p=weights / weights.sum()))

        return [
            make_row(
                row,
                unit_vectors(rng, int(rng.integers(1, 6))),
                catalogue=f"owner/c{rng.integers(4)}",
                description=text(8),
                body=text(40),
                licence=[None, "MIT", "Apache-2.0"][rng.integers(3)],
                language=["en", "de"][rng.integers(2)],
                tags=tuple(tag for tag in ("pdf", "web", "db") if rng.random() < 0.5),
                trust=Trust(int(rng.integers(5))),
                routable=bool(rng.random() < 0.9),
            )
            for row in range(first, first + count)
        ]

    return make


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory, space: Space) -> Publish:
    """`publish(rows, folder=..., background_queries=...)`: build in batches of 7, then load."""

    def make(
        rows: Sequence[IndexRow],
        *,
        folder: Path | None = None,
        background_queries: Vectors | None = None,
    ) -> Generation:
        async def batches() -> AsyncIterator[Sequence[IndexRow]]:
            for start in range(0, len(rows), 7):
                yield rows[start : start + 7]

        if folder is None:
            folder = tmp_path_factory.mktemp("generations") / "g"
        if background_queries is None:
            background_queries = np.zeros((0, DIMENSION), dtype=np.float32)
        asyncio.run(
            build(
                folder,
                id="g",
                space=space,
                seq=5,
                batches=batches(),
                background_queries=background_queries,
            )
        )
        return Generation.load(folder, space)

    return make


@pytest.fixture(scope="session")
def make_view(publish: Publish) -> MakeView:
    """`make_view(rows, added, removed)`: a generation of `rows` and a delta of the rest."""

    def make(
        rows: Sequence[IndexRow],
        added: Sequence[IndexRow] = (),
        removed: Sequence[int] = (),
        **options: Any,
    ) -> View:
        generation = publish(rows, **options)
        return View(generation, Delta.empty(generation).apply(added, removed))

    return make
