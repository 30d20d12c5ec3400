"""The reranker's training run over the skills to train on, with a curve over calibration rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.background import BACKGROUND_QUERIES
from core.embedding import DEFAULT_ENCODER, Embedder, load_embedder
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.fuse import fuse
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.types import ArmHit, Filters, IndexedPassage, Vectors
from evaluation.training import Corpus, HeldOut, material
from evaluation.types import catalogue_of
from evaluation.untuned_system import UNTUNED
from reranker.learn.batches import index_row
from reranker.learn.examples import TrainingSkill
from reranker.learn.export_reranker import export
from reranker.learn.run import OnStep
from reranker.learn.train_reranker import LateInteraction, Recipe, RerankerTraining, Score
from reranker.policy import load_policy

CURVE_DEPTH, CURVE_SHARE = 8, 2
"""Candidates that the curve scores of a held-out question, and every which question: it takes
time from the training."""

CURVE_WEIGHT = 0.01
"""Of the logit beside the fused score on the curve; what is served is fitted afterwards."""


class FirstStage:
    """Both arms and their fusion over skills that are in no index."""

    def __init__(
        self,
        skills: Sequence[TrainingSkill],
        embedder: Embedder,
        vectors: Sequence[Vectors],
        weights: Mapping[str, float],
    ) -> None:
        """`vectors` are those of each skill's passages, in their order."""
        empty = Generation.empty(embedder.space, embedder.embed(BACKGROUND_QUERIES))
        rows = [
            index_row(
                row,
                skill.place,
                name=skill.name,
                description=skill.document.description,
                body=skill.document.body,
                catalogue=catalogue_of(skill.place),
                passages=tuple(IndexedPassage(section="", vector=vector) for vector in held),
            )
            for row, (skill, held) in enumerate(zip(skills, vectors, strict=True))
        ]
        self._view = View(empty, Delta.empty(empty).apply(rows, ()))
        self._embedder = embedder
        self._weights = weights
        self._lexical = TantivyArm()

    def fused(self, text: str, catalogue: str | None, k: int) -> list[tuple[int, float]]:
        """Rows of the best k skills of a catalogue, or of all, with their fused scores."""
        hits = {
            "dense": self._by_meaning(text, catalogue, k),
            "lexical": self._by_words(text, catalogue, k),
        }
        return [(found.row, found.score) for found in fuse(hits, self._weights, k)]

    def _by_meaning(self, text: str, catalogue: str | None, k: int) -> list[ArmHit]:
        vector = self._embedder.embed([text])[0]
        return dense(self._view, vector, _within(catalogue), 2 * k, threads=1)

    def _by_words(self, text: str, catalogue: str | None, k: int) -> list[ArmHit]:
        return self._lexical.search(self._view, text, _within(catalogue), 2 * k).hits


def _within(catalogue: str | None) -> Filters:
    return Filters(catalogues=(catalogue,) if catalogue else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutCandidates:
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


def held_out_candidates(held_out: HeldOut, embedder: Embedder) -> HeldOutCandidates:
    """The first stage over the curve's skills, asked its share of the queries.

    A query is asked within its catalogue, or over all of them where it has none.
    """
    stage = first_stage(held_out.skills, embedder)
    found = {}
    for query in held_out.queries[::CURVE_SHARE]:
        found[query.qid] = stage.fused(query.text, query.catalogue, CURVE_DEPTH)
    return HeldOutCandidates(held_out=held_out, candidates=found)


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
    threads = torch.get_num_threads()
    taught = material(corpus.train, load_embedder(UNTUNED), recipe.seed)
    curve = held_out_candidates(corpus.held_out, load_embedder(DEFAULT_ENCODER))
    # FAISS and torch share one OpenMP: the single thread of a scan would stay torch's too.
    torch.set_num_threads(threads)
    model = LateInteraction(start, device, recipe)
    training = RerankerTraining(model, taught, recipe, run, curve.measure)
    training.run(on_step, every=every)
    export(model, output, name=name)
    return training.curve()
