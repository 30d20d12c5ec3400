"""Export a trained reranker to the folder that `OpenVINOCrossEncoder` loads."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from reranker.cross_encoder import CARD_FILE, card
from reranker.learn.onnx_file import write_onnx
from reranker.learn.train_reranker import CrossEncoderModel

INPUTS = ("input_ids", "attention_mask", "document")


def export(model: CrossEncoderModel, out: Path, *, name: str) -> Path:
    """Write model.onnx (weights stored as fp16), tokenizer.json and reranker.json to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(model.model, out / ONNX_FILE, inputs=INPUTS, output="logit")
    shutil.copy(model.source / TOKENIZER_FILE, out / TOKENIZER_FILE)
    revision = hashlib.sha256((out / ONNX_FILE).read_bytes()).hexdigest()
    described = card(name, revision, model.layers, model.windows)
    (out / CARD_FILE).write_text(json.dumps(described, indent=2) + "\n")
    return out
