"""Cross-encoders as the second stage: our own on OpenVINO, others by sentence-transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.embedding import MODELS
from core.errors import ModelMissingError
from core.openvino_model import TOKENIZER_FILE, compiled, require_files
from core.telemetry import RERANK_PAIRS, RERANK_TOKENS
from reranker.batcher import token_batches
from reranker.overlap import OverlapReranker, Reranker
from reranker.pairs import PAIR_FORMAT, Document, Pair, PairTokenizer, Windows, pair_text

OWN_RERANKER = "loadstar-reranker"
CARD_FILE = "reranker.json"

# Padded tokens of a batch. On 2 busy cores, two single-thread streams with batches of 4 short pairs
# were 1.4 times as fast as one batch of 16 on both (docs/decisions/0013).
CPU_TOKENS = 512
GPU_TOKENS = 32_768


def load_reranker(spec: str, *, threads: int = 2) -> Reranker:
    """The second stage that `spec` names.

    `spec` is `overlap`; a folder with a `reranker.json`, or the name of one under `models/`;
    `st:NAME` for any sentence-transformers cross-encoder, a local folder or a hub name; or
    `skillrouter:NAME` for a causal model that answers yes or no in SkillRouter's prompt format.

    Raises ModelMissingError, naming the file or the extra that is missing.
    """
    if spec == OverlapReranker.name:
        return OverlapReranker()
    if spec.startswith("st:"):
        return SentenceTransformersCrossEncoder(spec.removeprefix("st:"))
    if spec.startswith("skillrouter:"):
        from reranker.skillrouter import SkillRouterReranker

        return SkillRouterReranker(spec.removeprefix("skillrouter:"))
    folder = Path(spec) if Path(spec).is_dir() else MODELS / spec
    return OpenVINOCrossEncoder(folder, threads=threads)


def card(name: str, revision: str, layers: int, windows: Windows) -> dict[str, Any]:
    """What `reranker.json` says of an exported model."""
    return {
        "model": name,
        "revision": revision,
        "pair_format": PAIR_FORMAT,
        "layers": layers,
        "windows": asdict(windows),
    }


class OpenVINOCrossEncoder:
    """An exported cross-encoder (`model.onnx`, `tokenizer.json`, `reranker.json`)."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        from openvino import AsyncInferQueue

        require_files(folder, CARD_FILE, kind="reranker", setting="LOADSTAR_RERANKER")
        found = json.loads((folder / CARD_FILE).read_text())
        if found["pair_format"] != PAIR_FORMAT:
            raise ModelMissingError(
                f"The reranker {folder.name!r} reads pairs of the format {found['pair_format']}; "
                f"this program forms {PAIR_FORMAT}. Train it again, or name another."
            )
        self.name: str = found["model"]
        tokenizer = PairTokenizer(folder / TOKENIZER_FILE, Windows(**found["windows"]))
        # Asked twice of every pair, what it costs and what it scores; some 10 MB.
        self._pair = lru_cache(maxsize=2_048)(tokenizer.pair)
        self._streams = threads
        self._queue = AsyncInferQueue(compiled(folder, threads=threads, streams=threads), threads)
        self._one_at_a_time = threading.Lock()

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """The tokens of each pair."""
        return [len(self._pair(task, document)) for document in documents]

    def score(self, task: str, documents: Sequence[Document]) -> list[float]:
        """The logit of each document, unbounded."""
        pairs = [self._pair(task, document) for document in documents]
        lengths = [len(pair) for pair in pairs]
        RERANK_PAIRS.inc(len(pairs))
        RERANK_TOKENS.inc(sum(lengths))
        scores = np.empty(len(pairs), dtype=np.float32)

        def keep(request: Any, batch: list[int]) -> None:
            scores[batch] = request.get_output_tensor(0).data

        with self._one_at_a_time:
            self._queue.set_callback(keep)
            for batch in token_batches(lengths, min(CPU_TOKENS, -(-sum(lengths) // self._streams))):
                self._queue.start_async(padded([pairs[i] for i in batch]), batch)
            self._queue.wait_all()
        found: list[float] = scores.tolist()
        return found


def padded(pairs: Sequence[Pair]) -> dict[str, NDArray[np.int64]]:
    """The model's three inputs, shape (pairs, longest), 0 where they are padded."""
    ids = np.zeros((len(pairs), max(map(len, pairs))), dtype=np.int64)
    mask, document = np.zeros_like(ids), np.zeros_like(ids)
    for row, pair in enumerate(pairs):
        ids[row, : len(pair)] = pair.ids
        mask[row, : len(pair)] = 1
        document[row, pair.first : len(pair)] = 1
    return {"input_ids": ids, "attention_mask": mask, "document": document}


class SentenceTransformersCrossEncoder:
    """Any sentence-transformers cross-encoder, on GPU where torch finds one; extra `models`."""

    def __init__(self, name: str) -> None:
        try:
            import torch
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise ModelMissingError(
                f"The reranker 'st:{name}' needs the extra `models`: "
                "pip install 'loadstar[models]'."
            ) from error
        try:
            self._model = CrossEncoder(name, num_labels=1, activation_fn=torch.nn.Identity())
        except (OSError, ValueError) as error:
            raise ModelMissingError(
                f"sentence-transformers cannot load {name!r}: {str(error).splitlines()[0]}"
            ) from error
        self.name = f"st:{name}"
        self._budget = CPU_TOKENS if self._model.device.type == "cpu" else GPU_TOKENS

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """The tokens of each pair."""
        return self._lengths(self._texts(task, documents))

    def score(self, task: str, documents: Sequence[Document]) -> list[float]:
        """The logit of each document, unbounded."""
        texts = self._texts(task, documents)
        lengths = self._lengths(texts)
        scores = np.empty(len(texts), dtype=np.float32)
        for batch in token_batches(lengths, self._budget):
            scores[batch] = self._model.predict(
                [texts[i] for i in batch], batch_size=len(batch), show_progress_bar=False
            )
        found: list[float] = scores.tolist()
        return found

    def _texts(self, task: str, documents: Sequence[Document]) -> list[tuple[str, str]]:
        read = (pair_text(task, document) for document in documents)
        return [(task, f"{line}\n{passage}".strip()) for line, passage in read]

    def _lengths(self, texts: Sequence[tuple[str, str]]) -> list[int]:
        encoded = self._model.tokenizer(list(texts), truncation=True)
        return [len(ids) for ids in encoded["input_ids"]]
