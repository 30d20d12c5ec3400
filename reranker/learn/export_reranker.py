"""Write a head to the folder that `LateInteractionReranker` loads."""

from __future__ import annotations

import hashlib
from pathlib import Path

from core.embedding import MODELS, model_folder
from core.openvino_model import ONNX_FILE
from reranker.late_interaction import HEAD_FILE, Card, Head
from reranker.pairs import Windows


def export(head: Head, out: Path, *, name: str, encoder: str, windows: Windows) -> None:
    """Write head.npz and, last, reranker.json, which names the encoder and the sha256 of both."""
    out.mkdir(parents=True, exist_ok=True)
    head.write(out)
    folder = model_folder(encoder).resolve()
    Card(
        model=name,
        encoder=folder.name if folder.parent == MODELS else str(folder),
        revision=_digest(folder / ONNX_FILE),
        head=_digest(out / HEAD_FILE),
        windows=windows,
    ).write(out)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
