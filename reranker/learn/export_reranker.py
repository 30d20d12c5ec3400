"""Export a trained reranker to the folder that `LateInteractionReranker` loads."""

from __future__ import annotations

import hashlib
import shutil
from copy import deepcopy
from pathlib import Path

from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from reranker.late_interaction import Card
from reranker.learn.onnx_file import write_onnx
from reranker.learn.train_reranker import SCALE, LateInteraction


def export(trained: LateInteraction, out: Path, *, name: str) -> Path:
    """Write model.onnx (weights stored as fp16), tokenizer.json and reranker.json to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    inputs = ("input_ids", "attention_mask")
    write_onnx(deepcopy(trained.model).cpu(), out / ONNX_FILE, inputs=inputs, output="words")
    shutil.copy(trained.source / TOKENIZER_FILE, out / TOKENIZER_FILE)
    Card(
        model=name,
        revision=hashlib.sha256((out / ONNX_FILE).read_bytes()).hexdigest(),
        layers=trained.layers,
        windows=trained.windows,
        scale=SCALE,
        offset=trained.model.offset.item(),
    ).write(out)
    return out
