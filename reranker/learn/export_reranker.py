"""Export the words' model and a head to the folder that `LateInteractionReranker` loads."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from reranker.late_interaction import HEAD_FILE, Card, Head
from reranker.learn.onnx_file import write_onnx
from reranker.pairs import Windows


class WordVectors(torch.nn.Module):
    """A transformer whose output is each token's direction from the mean token."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.embeddings = transformer.embeddings
        self.layers = transformer.encoder.layer
        self.register_buffer("centre", torch.zeros(transformer.config.hidden_size))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Shape (texts, tokens) of both; (texts, tokens, width) out, each of length 1."""
        hidden: Tensor = self.embeddings(input_ids=input_ids)
        added = torch.zeros(attention_mask.shape, dtype=hidden.dtype)
        added = added.masked_fill(attention_mask == 0, -1e4)[:, None, None]
        for layer in self.layers:
            hidden = layer(hidden, added)
        return functional.normalize(hidden - self.centre, dim=-1)


def word_vectors(source: Path, texts: Sequence[Sequence[int]]) -> WordVectors:
    """Those of a BERT encoder's folder, centred on the mean token of `texts`.

    What all tokens have in common would make every two words alike.
    """
    from transformers import AutoModel

    transformer: Any = AutoModel.from_pretrained(
        source, attn_implementation="eager", add_pooling_layer=False
    )
    with torch.inference_mode():
        read = [transformer(torch.tensor([ids])).last_hidden_state[0] for ids in texts]
    found = WordVectors(transformer.eval())
    found.centre = torch.cat(read).mean(0).clone()
    return found


def export_words(model: WordVectors, tokenizer: Path, out: Path) -> None:
    """Write model.onnx (weights stored as fp16) and tokenizer.json to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(model, out / ONNX_FILE, inputs=("input_ids", "attention_mask"), output="words")
    shutil.copy(tokenizer, out / TOKENIZER_FILE)


def export(words: Path, head: Head, out: Path, *, name: str, windows: Windows) -> None:
    """Write the words' model of a folder, head.npz and, last, reranker.json with their sha256."""
    out.mkdir(parents=True, exist_ok=True)
    for file in (ONNX_FILE, TOKENIZER_FILE):
        shutil.copy(words / file, out / file)
    head.write(out)
    revision, of_head = (digest(out / file) for file in (ONNX_FILE, HEAD_FILE))
    Card(model=name, revision=revision, head=of_head, windows=windows).write(out)


def digest(file: Path) -> str:
    """Its sha256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
