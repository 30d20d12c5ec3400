"""Untuned systems: the encoder that ours was trained from, over the same passages.

What training gained is measured against it in the same run. Its vectors are kept in the data
folder, as those of the descriptions are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

from core.db import read
from core.embedding import Embedder, load_embedder
from core.retrieval.dense import PassageIndex
from core.retrieval.fuse import fuse
from core.tables import passages, skills
from core.text import query_text
from core.types import ArmHit, Vectors, text_hash
from evaluation.description_system import Halves, OnStep, embedded
from evaluation.systems import DEPTH, Bench, Hits, System, embedded_tokens

UNTUNED = "minilm-l6-v2"
ARM_WEIGHTS = {"dense": 0.2, "lexical": 0.8}
"""What was in force with it (docs/decisions/0009)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untuned:
    """Every live skill's passages in the untuned encoder's space."""

    embedder: Embedder
    texts: Mapping[int, Sequence[str]]  # by live row
    vectors: Mapping[bytes, Halves]  # by text hash

    def systems(self, bench: Bench, scope: str) -> list[System]:
        """`dense-untuned` and `fused-untuned` over a scope."""
        rows = bench.rows_within(scope)
        texts = [text for row in rows for text in self.texts[row]]
        vectors: Vectors = np.stack([self.vectors[text_hash(text)] for text in texts]).astype(
            np.float32
        )
        starts = np.cumsum([0, *(len(self.texts[row]) for row in rows)], dtype=np.int64)
        index = PassageIndex.empty(vectors.shape[1]).extended(vectors, starts)

        def by_meaning(task: str) -> list[ArmHit]:
            vector = self.embedder.embed([query_text(task)])[0]
            found = index.search(vector, None, DEPTH, threads=1)
            return [
                ArmHit(row=rows[position], score=score, share=max(score, 0.0))
                for position, _, score in found
            ]

        def dense(task: str) -> Hits:
            return [(hit.row, hit.score) for hit in by_meaning(task)]

        def fused(task: str) -> Hits:
            arms = {"dense": by_meaning(task), "lexical": bench.by_words(task, scope)}
            return [(found.row, found.score) for found in fuse(arms, ARM_WEIGHTS, DEPTH)]

        tokens = sum(embedded_tokens(self.embedder, texts)) / len(rows)
        return [
            bench.first_stage("dense-untuned", scope, dense, tokens),
            bench.first_stage("fused-untuned", scope, fused, tokens),
        ]


async def read_untuned(bench: Bench, folder: Path, on_step: OnStep) -> Untuned | None:
    """The untuned encoder over every live skill; None where it is the one in force itself."""
    embedder = load_embedder(UNTUNED)
    if bench.embedder.space == embedder.space:
        return None
    live = (
        select(skills.c.live_row, passages.c.text)
        .join(passages, passages.c.row == skills.c.live_row)
        .order_by(passages.c.row, passages.c.ordinal)
    )
    texts: dict[int, list[str]] = {}
    async with read(bench.parts.engine) as connection:
        for row, text in await connection.execute(live):
            texts.setdefault(row, []).append(text)
    file = folder / f"untuned-{embedder.space.id}.npz"
    every = sorted({text for held in texts.values() for text in held})
    return Untuned(embedder=embedder, texts=texts, vectors=embedded(embedder, every, file, on_step))
