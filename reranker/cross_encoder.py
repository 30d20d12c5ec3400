"""Any sentence-transformers cross-encoder as the second stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import ModelMissingError
from reranker.batcher import token_batches
from reranker.interaction import Standing
from reranker.pairs import Document, pair_text

CPU_TOKENS, GPU_TOKENS = 512, 32_768  # of a batch once padded


class SentenceTransformersCrossEncoder:
    """Any sentence-transformers cross-encoder, on GPU where torch finds one; extra `models`."""

    listwise = False

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

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing] = ()
    ) -> list[float]:
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
