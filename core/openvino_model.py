"""An exported model on OpenVINO: loads its folder, naming what is missing or torn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelMissingError

ONNX_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

LAYER_NORM = "layer_norm"  # how the exporter begins the name of such a tensor


def require_files(folder: Path, *files: str, kind: str, setting: str) -> None:
    """Raise ModelMissingError naming the first of these that is missing."""
    for name in files:
        if not (folder / name).is_file():
            raise ModelMissingError(
                f"The {kind} {folder.name!r} lacks {folder / name}. Restore the file, or name "
                f"another {kind} with {setting}."
            )


def compiled(folder: Path, *, threads: int, streams: int, tokens: bool = False) -> Any:
    """The folder's weights as an OpenVINO model in bf16. Raises ModelMissingError if torn.

    With `tokens` it ends at the last hidden state, shape (texts, tokens, width).
    """
    import openvino

    try:
        runtime = openvino.Core()
        model = runtime.read_model(str(folder / ONNX_FILE))
        return runtime.compile_model(
            _token_states(model, folder) if tokens else model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
                "ENABLE_CPU_PINNING": False,
            },
        )
    except RuntimeError as error:
        raise ModelMissingError(
            f"{folder / ONNX_FILE} cannot be loaded and may be torn: "
            f"{str(error).strip().splitlines()[-1]}. Restore the file."
        ) from error


def _token_states(model: Any, folder: Path) -> Any:
    """The part of an exported encoder before its pooling: up to its last layer norm."""
    import openvino

    norms = [
        operation.output(0)
        for operation in model.get_ordered_ops()
        if operation.get_output_size()
        and any(name.startswith(LAYER_NORM) for name in operation.output(0).names)
    ]
    if not norms:
        raise ModelMissingError(
            f"{folder / ONNX_FILE} names no {LAYER_NORM}: its tokens cannot be read. Name an "
            "encoder that `loadstar train encoder` exported."
        )
    return openvino.Model([norms[-1]], model.get_parameters(), "tokens")


def padded(texts: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """The two inputs of an exported model, shape (texts, longest); padding has id 0 and mask 0."""
    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask}
