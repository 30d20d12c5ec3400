"""The reranker's training run: lists over the skills to train on, a curve over calibration rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.embedding import DEFAULT_ENCODER, Embedder, load_embedder
from core.types import Vectors
from evaluation.training import Corpus, HeldOut
from evaluation.untuned_system import UNTUNED
from reranker.learn.batches import Kinship
from reranker.learn.examples import TrainingSkill, without_boilerplate
from reranker.learn.export_reranker import export
from reranker.learn.lists import FirstStage, Lists
from reranker.learn.run import OnStep
from reranker.learn.train_reranker import CrossEncoderModel, Recipe, RerankerTraining, Score
from reranker.policy import load_policy

CURVE_DEPTH, CURVE_SHARE = 8, 2
"""Candidates that the curve scores of a held-out question, and every which question: it takes
time from the training."""

CURVE_WEIGHT = 0.05
"""Of the logit beside the fused score on the curve; what is served is fitted afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutLists:
    """Calibration queries, each with the first stage's best for it and how those were fused."""

    held_out: HeldOut
    candidates: Mapping[str, Sequence[tuple[int, float]]]  # by qid: rows and fused scores

    def measure(self, score: Score) -> dict[str, float]:
        """Hit@1 of each set, within its catalogue or, without one, over the curve's skills."""
        found: dict[str, list[bool]] = defaultdict(list)
        for query, right in zip(self.held_out.queries, self.held_out.right, strict=True):
            if listed := self.candidates.get(query.qid):
                found[query.source].append(self._first(query.text, listed, score) in right)
        return {name: float(np.mean(values)) for name, values in sorted(found.items())}

    def _first(self, text: str, listed: Sequence[tuple[int, float]], score: Score) -> int:
        logits = score(text, [self.held_out.skills[row].document for row, _ in listed])
        mixed = [
            (1 - CURVE_WEIGHT) * fused + CURVE_WEIGHT * logit
            for (_, fused), logit in zip(listed, logits, strict=True)
        ]
        return listed[int(np.argmax(mixed))][0]


def held_out_lists(held_out: HeldOut, embedder: Embedder) -> HeldOutLists:
    """The first stage over the curve's skills, asked its share of the queries.

    A query is asked within its catalogue, or over all of them where it has none.
    """
    stage = first_stage(held_out.skills, embedder)
    found = {}
    for query in held_out.queries[::CURVE_SHARE]:
        found[query.qid] = stage.fused(query.text, query.catalogue, CURVE_DEPTH)
    return HeldOutLists(held_out=held_out, candidates=found)


def first_stage(skills: Sequence[TrainingSkill], embedder: Embedder) -> FirstStage:
    """Both arms over these skills, weighed as they are served."""
    owned = [(row, text) for row, skill in enumerate(skills) for text in skill.passages.values()]
    starts = np.unique([row for row, _ in owned], return_index=True)[1]
    vectors: list[Vectors] = np.split(embedder.embed([text for _, text in owned]), starts[1:])
    return FirstStage(skills, embedder, vectors, load_policy().arm_weights)


def train_reranker(
    corpus: Corpus,
    recipe: Recipe,
    run: Path,
    output: Path,
    *,
    start: Path,
    device: str,
    name: str,
    every: int,
    on_step: OnStep,
) -> list[dict[str, float]]:
    """Train to the recipe's end, going on where `run` left off; export to `output`.

    `start` is the folder of the transformer to start from. Returns the held-out curve. Raises
    TrainingError where `run` holds another run.
    """
    skills = without_boilerplate(corpus.train)
    embedder = load_embedder(DEFAULT_ENCODER, threads=2, streams=2)
    kinship = Kinship(skills, load_embedder(UNTUNED).embed([skill.routing for skill in skills]))
    lists = Lists(skills, first_stage(skills, embedder), kinship)
    curve = held_out_lists(corpus.held_out, embedder)
    model = CrossEncoderModel(start, device, recipe)
    training = RerankerTraining(model, lists, recipe, run, curve.measure)
    training.run(on_step, every=every)
    export(model, output, name=name)
    return training.curve()
