"""A causal language model as the second stage: SkillRouter's 0.6 B reranker and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import ModelMissingError
from reranker.batcher import token_batches
from reranker.interaction import Standing
from reranker.pairs import Document

# The published prompt of pipizhao/SkillRouter-Reranker-0.6B, over that of Qwen3-Reranker: the score
# is logit("yes") - logit("no") after it.
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = (
    "Given a task description, judge whether the skill document is relevant and useful for "
    "completing the task"
)
DESCRIPTION_CHARS, BODY_CHARS = 500, 2_000
MAX_TOKENS = 4_096
BATCH_TOKENS = 16_384  # of a batch once padded: 0.6 B parameters in fp16 and this fit 8 GiB


def prompt(task: str, document: Document) -> str:
    """What stands between PREFIX and SUFFIX."""
    description, body = document.description[:DESCRIPTION_CHARS], document.body[:BODY_CHARS]
    return (
        f"<Instruct>: {INSTRUCTION}\n\n<Query>: {task}\n\n"
        f"<Document>: {document.name} | {description} | {body}"
    )


class SkillRouterReranker:
    """Any causal model that answers yes or no to that prompt; needs the extra `models`."""

    listwise = False

    def __init__(self, name: str) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise ModelMissingError(
                f"The reranker 'skillrouter:{name}' needs the extra `models`: "
                "pip install 'loadstar[models]'."
            ) from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        precision = torch.float16 if self._device == "cuda" else torch.float32
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=precision)
        except (OSError, ValueError) as error:
            raise ModelMissingError(
                f"transformers cannot load {name!r}: {str(error).splitlines()[0]}"
            ) from error
        self._model = model.eval().to(self._device)
        self._torch = torch
        self.name = f"skillrouter:{name}"
        self._yes, self._no = (self._token(word) for word in ("yes", "no"))
        self._prefix, self._suffix = self._ids(PREFIX), self._ids(SUFFIX)

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """The tokens of each prompt."""
        return [len(self._input(task, document)) for document in documents]

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing] = ()
    ) -> list[float]:
        """logit("yes") - logit("no") of each document, unbounded."""
        inputs = [self._input(task, document) for document in documents]
        scores = np.empty(len(inputs), dtype=np.float32)
        for batch in token_batches([len(ids) for ids in inputs], BATCH_TOKENS):
            scores[batch] = self._answered([inputs[i] for i in batch])
        found: list[float] = scores.tolist()
        return found

    def _input(self, task: str, document: Document) -> list[int]:
        room = MAX_TOKENS - len(self._prefix) - len(self._suffix)
        return [*self._prefix, *self._ids(prompt(task, document))[:room], *self._suffix]

    def _answered(self, inputs: Sequence[list[int]]) -> Any:
        """Shape (inputs,); padded on the left, so that every prompt ends at the last token."""
        longest = max(map(len, inputs))
        ids = self._torch.zeros((len(inputs), longest), dtype=self._torch.long)
        mask = self._torch.zeros_like(ids)
        for row, one in enumerate(inputs):
            ids[row, longest - len(one) :] = self._torch.tensor(one)
            mask[row, longest - len(one) :] = 1
        with self._torch.inference_mode():
            logits = self._model(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                logits_to_keep=1,
            ).logits[:, -1]
        return (logits[:, self._yes] - logits[:, self._no]).float().cpu().numpy()

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return found

    def _token(self, word: str) -> int:
        ids = self._ids(word)
        if len(ids) != 1 or self._tokenizer.decode(ids) != word:
            raise ModelMissingError(f"{word!r} is not one token of {self.name}")
        return ids[0]
