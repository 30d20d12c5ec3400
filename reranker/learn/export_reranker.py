"""Write a head to the folder that `LateInteractionReranker` loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from core.embedding import CARD_FILE, model_folder
from reranker.late_interaction import HEAD_FILE, Card, Head
from reranker.pairs import Windows


def export(head: Head, out: Path, *, name: str, encoder: str, windows: Windows) -> None:
    """Write head.npz and, last, reranker.json, which names the encoder and both sha256."""
    out.mkdir(parents=True, exist_ok=True)
    head.write(out)
    Card(
        model=name,
        encoder=encoder,
        revision=json.loads((model_folder(encoder) / CARD_FILE).read_text())["revision"],
        head=hashlib.sha256((out / HEAD_FILE).read_bytes()).hexdigest(),
        windows=windows,
    ).write(out)
