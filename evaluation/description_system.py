"""Description system: the encoder over name and description alone, nothing of the body.

What body-aware passages gain is measured against it. Its vectors are kept in the data folder,
one file for each space, and a text is never embedded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from core.db import read
from core.embedding import Embedder
from core.retrieval.dense import PassageIndex
from core.tables import skill_rows, skills
from core.text import ROUTING_CHARS, spoken_name
from core.types import Vectors, text_hash
from evaluation.systems import DEPTH, Bench, Hits, System, embedded_tokens

Halves = NDArray[np.float16]
OnStep = Callable[[str], None]

AT_ONCE = 4_096  # texts between two words on how far it is: half a minute


class Descriptions:
    """One vector for each live skill, of its name and description."""

    def __init__(self, texts: Mapping[int, str], vectors: Mapping[bytes, Halves]) -> None:
        """`texts` by live row, and their vectors by text hash."""
        self._texts = texts
        self._vectors = vectors

    def system(self, bench: Bench, scope: str) -> System:
        """`dense-description` over a scope, scanned as the dense arm scans its passages."""
        rows = bench.rows_within(scope)
        texts = [self._texts[row] for row in rows]
        vectors: Vectors = np.stack([self._vectors[text_hash(text)] for text in texts]).astype(
            np.float32
        )
        one_each = np.arange(len(rows) + 1, dtype=np.int64)
        index = PassageIndex.empty(vectors.shape[1]).extended(vectors, one_each)

        def find(task: str) -> Hits:
            found = index.search(bench.embed(task), None, DEPTH, threads=1)
            return [(rows[position], score) for position, _, score in found]

        tokens = float(np.mean(embedded_tokens(bench.embedder, texts)))
        return bench.first_stage("dense-description", scope, find, tokens)


async def read_descriptions(bench: Bench, folder: Path, on_step: OnStep) -> Descriptions:
    """Descriptions of every live skill, embedded where `folder` holds no vector of them yet."""
    described = select(skills.c.live_row, skill_rows.c.name, skill_rows.c.description).join(
        skill_rows, skill_rows.c.row == skills.c.live_row
    )
    async with read(bench.parts.engine) as connection:
        live = await connection.execute(described)
        texts = {row: description_text(name, description) for row, name, description in live}
    file = folder / f"descriptions-{bench.embedder.space.id}.npz"
    every = sorted(set(texts.values()))
    return Descriptions(texts, embedded(bench.embedder, every, file, on_step))


def description_text(name: str, description: str) -> str:
    """The start of a skill's routing passage, without the triggers that its body gave."""
    return f"{spoken_name(name)}\n{' '.join(description.split())[:ROUTING_CHARS]}".strip()


def embedded(
    embedder: Embedder, texts: Sequence[str], file: Path, on_step: OnStep
) -> Mapping[bytes, Halves]:
    """A vector for each text by its hash; those that `file` lacks are embedded and kept there."""
    known = _read(file)
    new = [text for text in texts if text_hash(text) not in known]
    for start in range(0, len(new), AT_ONCE):
        on_step(f"embedding {start:,} of {len(new):,} texts with {embedder.space.model}")
        part = new[start : start + AT_ONCE]
        vectors = embedder.embed(part).astype(np.float16)
        known |= {text_hash(text): vector for text, vector in zip(part, vectors, strict=True)}
    if new:
        _write(file, known)
    return known


def _read(file: Path) -> dict[bytes, Halves]:
    if not file.is_file():
        return {}
    with np.load(file) as stored:
        return {
            key.tobytes(): vector
            for key, vector in zip(stored["hashes"], stored["vectors"], strict=True)
        }


def _write(file: Path, vectors: Mapping[bytes, Halves]) -> None:
    hashes = np.stack([np.frombuffer(key, dtype=np.uint8) for key in vectors])
    aside = file.with_suffix(".writing.npz")
    np.savez(aside, hashes=hashes, vectors=np.stack(list(vectors.values())))
    aside.replace(file)
