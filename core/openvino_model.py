"""Loads an exported model's folder on OpenVINO, naming what is missing or torn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import ModelMissingError

ONNX_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"


def require_files(folder: Path, card: str, *, kind: str, setting: str) -> None:
    """Raise ModelMissingError naming the first of card, weights and tokenizer that is missing."""
    for name in (card, ONNX_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise ModelMissingError(
                f"The {kind} {folder.name!r} lacks {folder / name}. Restore the file, or name "
                f"another {kind} with {setting}."
            )


def compiled(folder: Path, *, threads: int, streams: int) -> Any:
    """The folder's weights as an OpenVINO model in bf16. Raises ModelMissingError if torn."""
    import openvino

    try:
        return openvino.Core().compile_model(
            str(folder / ONNX_FILE),
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
            f"{str(error).splitlines()[0]}. Restore the file."
        ) from error
