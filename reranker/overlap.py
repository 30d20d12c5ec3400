"""Word overlap as a second stage: the honest baseline, the fallback, the test double."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from core.retrieval.lexical import analyse
from core.text import without_exclusions
from reranker.interaction import Standing
from reranker.pairs import Document

NAME_WEIGHT, DESCRIPTION_WEIGHT, BODY_WEIGHT = 3.0, 2.0, 1.0
BODY_CHARS = 1_000  # the analyser takes about 0.1 ms per 1,000 characters


class Reranker(Protocol):
    """A second stage over the fused candidates."""

    @property
    def name(self) -> str:
        """What `scored_by` says."""
        ...

    @property
    def listwise(self) -> bool:
        """Whether a document's score depends on those that are scored with it."""
        ...

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """How many tokens scoring each document takes. Blocks; thread-safe."""
        ...

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing]
    ) -> list[float]:
        """One score per document on the reranker's own scale, higher is better.

        Blocks; thread-safe. Raises RuntimeError where the model fails.
        """
        ...


class OverlapReranker:
    """The share of the task's words that a document holds.

    A word weighs its inverse document frequency among the candidates at hand (Robertson and
    Spärck Jones), so that a word that all share tells nothing; a hit in the name counts three
    times, in the description twice a hit in the body.
    """

    name = "overlap"
    listwise = True  # by the words' rarity among the candidates

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """No model reads anything."""
        return [0] * len(documents)

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing] = ()
    ) -> list[float]:
        """Scores in [0, 1]; a task without words scores 0 everywhere."""
        words = sorted(set(analyse(task)))
        weights = [word_weights(document) for document in documents]
        counts = [sum(word in found for found in weights) for word in words]
        rarity = [math.log(1 + (len(documents) - count + 0.5) / (count + 0.5)) for count in counts]
        best = NAME_WEIGHT * sum(rarity)
        return [
            sum(found.get(word, 0.0) * idf for word, idf in zip(words, rarity, strict=True)) / best
            if best
            else 0.0
            for found in weights
        ]


@lru_cache(maxsize=512)  # about 8 MB; the same skills come back for similar tasks
def word_weights(document: Document) -> Mapping[str, float]:
    """Each analysed word of a document with the weight of the best field that holds it."""
    weights = dict.fromkeys(analyse(document.body[:BODY_CHARS]), BODY_WEIGHT)
    weights.update(dict.fromkeys(analyse(document.description), DESCRIPTION_WEIGHT))
    weights.update(dict.fromkeys(analyse(document.name), NAME_WEIGHT))
    return weights


@lru_cache(maxsize=512)
def excluded_words(name: str, description: str) -> frozenset[str]:
    """Analysed words of a description that stand only where it says what the skill is not for."""
    kept = analyse(f"{name} {without_exclusions(description)}")
    return frozenset(analyse(description)).difference(kept)
