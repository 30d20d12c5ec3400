"""Our own second stage: each of the task's words looks for its nearest word of the skill.

Late interaction (ColBERT, Khattab and Zaharia 2020): a task and a skill are read apart, each once,
and meet in a product of their words' vectors. So a task is read once for all its candidates, and
what was read of a skill serves every later task that is shown the same passage.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from core.errors import ModelMissingError
from core.openvino_model import TOKENIZER_FILE, compiled, padded, require_files
from core.telemetry import RERANK_PAIRS, RERANK_TOKENS
from reranker.batcher import token_batches
from reranker.pairs import PAIR_FORMAT, Document, TextTokenizer, Windows, pair_text

CARD_FILE = "reranker.json"

# Padded tokens of a batch. On 2 busy cores, two single-thread streams with batches of 4 texts were
# 1.4 times as fast as one batch of 16 on both (docs/decisions/0013).
BATCH_TOKENS = 512

KEPT_BYTES = 128 * 2**20
"""Of words' vectors that are kept: some 1,300 skills of 128 tokens."""

Words = NDArray[np.float16]
"""Shape (words, width): a word's direction is what it means, its length what it weighs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `reranker.json` says of an exported model."""

    model: str  # what `scored_by` says
    revision: str  # sha256 of its weights
    layers: int
    windows: Windows
    scale: float  # logit = scale x (similarity - offset)
    offset: float

    def write(self, folder: Path) -> None:
        """To the folder's CARD_FILE."""
        described = {**asdict(self), "pair_format": PAIR_FORMAT}
        (folder / CARD_FILE).write_text(json.dumps(described, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Raises ModelMissingError where it is broken, or for other texts than are formed here."""
        try:
            found = json.loads((folder / CARD_FILE).read_text())
            formed = found.pop("pair_format")
            card = cls(**found | {"windows": Windows(**found["windows"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelMissingError(
                f"{folder / CARD_FILE} does not describe a reranker ({error}). Restore the file."
            ) from error
        if formed != PAIR_FORMAT:
            raise ModelMissingError(
                f"The reranker {folder.name!r} reads texts of the format {formed}; this program "
                f"forms {PAIR_FORMAT}. Train it again, or name another."
            )
        return card


class LateInteractionReranker:
    """An exported reranker (`model.onnx`, `tokenizer.json`, `reranker.json`) on OpenVINO."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        from openvino import AsyncInferQueue

        require_files(folder, CARD_FILE, kind="reranker", setting="LOADSTAR_RERANKER")
        self._card = Card.read(folder)
        self.name = self._card.model
        self._tokenizer = TextTokenizer(folder / TOKENIZER_FILE, self._card.windows)
        # Asked twice of every pair, what it costs and what it scores; some 10 MB.
        self._read = lru_cache(maxsize=2_048)(self._tokens)
        self._asked = lru_cache(maxsize=64)(self._tokenizer.task)  # of every chunk
        self._streams = threads
        self._queue = AsyncInferQueue(compiled(folder, threads=threads, streams=threads), threads)
        self._kept: LRUCache[tuple[int, ...], Words] = LRUCache(KEPT_BYTES, lambda w: w.nbytes)
        self._one_at_a_time = threading.Lock()

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """The tokens of each document, whether it is still known or not; the task's are free."""
        return [len(self._read(task, document)) for document in documents]

    def score(self, task: str, documents: Sequence[Document]) -> list[float]:
        """The logit of each document, unbounded."""
        if not documents:
            return []
        RERANK_PAIRS.inc(len(documents))
        texts = [self._read(task, document) for document in documents]
        with self._one_at_a_time:
            asked, *said = self._words([tuple(self._asked(task)), *texts])
        found = similarities(asked, said)
        logits: list[float] = (self._card.scale * (found - self._card.offset)).tolist()
        return logits

    def _tokens(self, task: str, document: Document) -> tuple[int, ...]:
        return tuple(self._tokenizer.document(*pair_text(task, document)))

    def _words(self, texts: Sequence[tuple[int, ...]]) -> list[Words]:
        """The words of each text, kept ones or read anew."""
        known = {ids: self._kept[ids] for ids in set(texts) if ids in self._kept}
        new = [ids for ids in dict.fromkeys(texts) if ids not in known]
        for ids, words in zip(new, self._encoded(new), strict=True):
            known[ids] = words
            if words.nbytes <= KEPT_BYTES:
                self._kept[ids] = words
        return [known[ids] for ids in texts]

    def _encoded(self, texts: Sequence[tuple[int, ...]]) -> list[Words]:
        lengths = [len(ids) for ids in texts]
        RERANK_TOKENS.inc(sum(lengths))
        found: dict[int, Words] = {}

        def keep(request: Any, batch: list[int]) -> None:
            vectors = request.get_output_tensor(0).data
            for row, number in enumerate(batch):
                places = self._tokenizer.words(texts[number])
                found[number] = vectors[row][places].astype(np.float16)

        self._queue.set_callback(keep)
        budget = min(BATCH_TOKENS, -(-sum(lengths) // self._streams))
        try:
            for batch in token_batches(lengths, budget):
                self._queue.start_async(padded([texts[number] for number in batch]), batch)
        finally:  # what still runs must not end under the next call's callback
            self._queue.wait_all()
        return [found[number] for number in range(len(texts))]


def similarities(task: Words, documents: Sequence[Words]) -> NDArray[np.float32]:
    """Shape (documents,): the mean over the task's words, as they weigh, of the nearest's cosine.

    Without words on one side it is 0.
    """
    found = np.zeros(len(documents), dtype=np.float32)
    held = [number for number, words in enumerate(documents) if len(words)]
    if not held or not len(task):
        return found
    asked, weights = _directions(task)
    said, _ = _directions(np.concatenate([documents[number] for number in held]))
    starts = np.cumsum([0, *(len(documents[number]) for number in held[:-1])])
    nearest = np.maximum.reduceat(asked @ said.T, starts, axis=1)
    found[held] = weights @ nearest / weights.sum()
    return found


def _directions(words: Words) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    vectors = words.astype(np.float32)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)
    return vectors / lengths[:, None], lengths
