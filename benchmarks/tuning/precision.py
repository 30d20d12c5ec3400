"""Precision: what storing and running the trained encoder in fewer bits costs.

    python -m benchmarks.tuning.precision --data ../shared/data --run .loadstar/training/encoder

Calibration rows over the skills of the held-out curve. Against the run's weights in fp32: the
exported file as it is served, and weights of 8 bits for each output channel. Each with its cosines
over passages, and each figure with its paired difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from core.embedding import DEFAULT_ENCODER, load_embedder
from evaluation.bootstrap import compare
from evaluation.prepare import read_verified
from evaluation.split import committed
from evaluation.training import HeldOut, read_corpus
from reranker.learn.train_encoder import Encode, Encoder, Recipe

COSINES = 3_000  # passages that cosines are taken over
HEADER = ("encoder", "least cosine", "mean", "Recall@50 over all", "Hit@1 within the catalogue")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled rows")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="what the run was exported to")
    arguments = parser.parse_args()
    held_out = read_corpus(read_verified(arguments.data, "quick", committed())).held_out
    lines = [HEADER, ("---",) * len(HEADER)]
    lines += rows(held_out, arguments.run / "model", arguments.encoder)
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def rows(held_out: HeldOut, model: Path, encoder: str) -> list[tuple[str, ...]]:
    """One for each way of storing and running it, fp32 first."""
    ways = {
        "fp32, torch": in_full(Encoder(model, "cpu", torch.float32)),
        "fp16 file in bf16, OpenVINO": load_embedder(encoder, threads=2, streams=2).embed,
        "int8 weights, fp32, torch": in_full(with_int8_weights(model)),
    }
    texts = [text for skill in held_out.skills for text in skill.passages.values()][:COSINES]
    reference = next(iter(ways.values()))(texts)
    base: list[dict[str, float]] = []
    found = []
    for name, encode in ways.items():
        cosines = np.sum(encode(texts) * reference, axis=1)
        scores = held_out.scores(encode)
        figures = [held_out.recalls(scores), held_out.firsts(scores)]
        base = base or figures
        shown = (against(one, other) for one, other in zip(figures, base, strict=True))
        found.append((name, f"{cosines.min():.5f}", f"{cosines.mean():.5f}", *shown))
    return found


def against(values: dict[str, float], base: dict[str, float]) -> str:
    """The mean, and its difference to the base."""
    change = compare(values, base).interval
    mean = np.mean(list(values.values()))
    return f"{mean:.3f}, {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def in_full(encoder: Encoder) -> Encode:
    """The encoder at its own window."""
    return lambda texts: encoder.embed(texts, Recipe().tokens)


def with_int8_weights(model: Path) -> Encoder:
    """Every matrix rounded to 255 levels, symmetric, by output channel."""
    encoder = Encoder(model, "cpu", torch.float32)
    with torch.no_grad():
        for weights in encoder.model.parameters():
            if weights.dim() == 2:
                step = weights.abs().amax(dim=1, keepdim=True) / 127
                weights.copy_(torch.round(weights / step.clamp(min=1e-12)) * step)
    return encoder


if __name__ == "__main__":
    main()
