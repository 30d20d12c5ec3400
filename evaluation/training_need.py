"""The training run of what tells whether a task needs a skill at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.embedding import Embedder, load_embedder
from evaluation.decision_metrics import auroc
from evaluation.prepare import Prepared
from evaluation.types import Query, Split
from reranker.learn.fit_need import fit_need, read_needless
from reranker.need import Need

AWARENESS = "metatool-awareness"
"""Requests that need some tool and requests that need none; none of them is learned from."""


def train_need(prepared: Prepared, encoder: str, output: Path) -> dict[str, float]:
    """Fit it on written tasks of the train side and needless messages, and write it to a file.

    Returns the AUROC over MetaTool's calibration rows, and how many messages it learned from.
    Raises ModelMissingError where the encoder cannot be loaded.
    """
    embedder = load_embedder(encoder, threads=2, streams=2)
    needing = [query.text for query in prepared.written if query.split is Split.TRAIN]
    needless = [each.text for each in read_needless()]
    need = fit_need(embedder.embed(needing), embedder.embed(needless), embedder.space.revision)
    output.write_text(need.model_dump_json() + "\n")
    return {
        "needing": len(needing),
        "needless": len(needless),
        AWARENESS: _auroc(need, embedder, prepared.labelled.queries),
    }


def _auroc(need: Need, embedder: Embedder, queries: Iterable[Query]) -> float:
    asked = [
        query for query in queries if query.source == AWARENESS and query.split is Split.CALIBRATION
    ]
    vectors = embedder.embed([query.text for query in asked])
    logits = np.array([need.logit(vector) for vector in vectors])
    return auroc(logits, np.array([bool(query.relevant) for query in asked]))
