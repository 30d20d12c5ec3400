"""Training batches of neighbours: whom a skill is confused with trains beside it.

Hard negatives cost an encoder twice over when each query brings its own. Here the negatives of a
query are the other skills of its batch, so a batch is made of knots: a skill and its neighbours by
meaning, by words and by trade (negative-mining-aware batches: NGAME, Dahiya et al. 2022). Which of
them may in truth be right as well is known by `Kinship`, and left out of the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from core.minhash import signature
from core.retrieval.lexical import WordWriter, analyse, weigh
from core.types import IndexedPassage, IndexRow, PassageKind, Trust, Vectors
from reranker.learn.examples import TrainingSkill

Rows = NDArray[np.int64]

KNOT = 8
"""Skills of a knot: the first, and NEIGHBOURS of each kind."""

BY_MEANING, BY_WORDS, BY_TRADE = 3, 2, 2
DEPTH = 30  # nearest skills of a kind that a neighbour is drawn from

SAME_COSINE = 0.90
SAME_BODY = 0.50
"""From here on another skill may be right too: cosine of the untuned routing passages, Jaccard
overlap of the word triples of the bodies."""

SKILLS_OF_A_TRADE = 80


class Kinship:
    """Which skills may be right where another is: of its name, of its text, close in meaning."""

    def __init__(self, skills: Sequence[TrainingSkill], vectors: Vectors) -> None:
        """`vectors` are those of the routing passages, shape (skills, dimension)."""
        self._names = _codes([skill.name.casefold() for skill in skills])
        self._twins = _codes([skill.twins or f"only {skill.place}" for skill in skills])
        bodies = [skill.passages.get(PassageKind.BODY, skill.routing) for skill in skills]
        self._signatures = np.stack([signature(body) for body in bodies])
        self._vectors = vectors

    def may_share(self, rows: Rows, columns: Rows) -> NDArray[np.bool_]:
        """Shape (rows, columns): whether what is right for one may be right for the other."""
        close: NDArray[np.bool_] = self._vectors[rows] @ self._vectors[columns].T >= SAME_COSINE
        for codes in (self._names, self._twins):
            close |= codes[rows][:, None] == codes[columns][None]
        alike = self._signatures[rows][:, None] == self._signatures[columns][None]
        close |= alike.mean(axis=2) >= SAME_BODY
        return close


def _codes(values: Sequence[str]) -> Rows:
    return np.unique(np.array(values), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """By kind: whom each skill is confused with, shape (skills, DEPTH); -1 where there are less."""

    meaning: Rows
    words: Rows
    trade: Rows


def neighbours(
    skills: Sequence[TrainingSkill], vectors: Vectors, kinship: Kinship, seed: int
) -> Neighbours:
    """Mine every skill's neighbours, without those that may be right as well."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return Neighbours(
        meaning=_without_kin(index.search(vectors, 2 * DEPTH)[1], kinship),
        words=_without_kin(_by_words(skills), kinship),
        trade=_without_kin(_by_trade(vectors, seed), kinship),
    )


def _without_kin(found: Rows, kinship: Kinship) -> Rows:
    kept = np.full((len(found), DEPTH), -1, dtype=np.int64)
    for row, candidates in enumerate(found):
        known = np.unique(candidates[candidates >= 0], return_index=True)[1]
        others = candidates[candidates >= 0][np.sort(known)]
        apart = others[~kinship.may_share(np.array([row]), others)[0]][:DEPTH]
        kept[row, : len(apart)] = apart
    return kept


def _by_words(skills: Sequence[TrainingSkill]) -> Rows:
    """The skills whose words each routing passage finds, best first."""
    writer = WordWriter()
    writer.add(
        [
            index_row(
                row,
                skill.place,
                name=skill.name,
                description=skill.routing,
                body=skill.passages.get(PassageKind.BODY, ""),
            )
            for row, skill in enumerate(skills)
        ]
    )
    words = writer.commit()
    found = np.full((len(skills), 2 * DEPTH), -1, dtype=np.int64)
    for row, skill in enumerate(skills):
        _, (terms,) = weigh(analyse(skill.routing), [words])
        hits = [position for position, _ in words.search(terms, None, 2 * DEPTH)]
        found[row, : len(hits)] = hits
    return found


def index_row(
    row: int,
    place: str,
    *,
    name: str,
    description: str,
    body: str,
    catalogue: str = "",
    triggers: tuple[str, ...] = (),
    passages: tuple[IndexedPassage, ...] = (),
) -> IndexRow:
    """A skill as an index in memory holds it, of nothing that filters ask for but its catalogue."""
    return IndexRow(
        row=row,
        skill_id=place,
        catalogue=catalogue,
        name=name,
        description=description,
        triggers=triggers,
        body=body,
        licence=None,
        language="",
        tags=(),
        trust=Trust.SCREENED,
        routable=True,
        passages=passages,
    )


def _by_trade(vectors: Vectors, seed: int) -> Rows:
    """Skills of the same trade (k-means cluster) in random order."""
    trades = max(1, len(vectors) // SKILLS_OF_A_TRADE)
    clusters = faiss.Kmeans(vectors.shape[1], trades, niter=10, seed=seed, verbose=False)
    clusters.train(vectors)
    trade_of = clusters.index.search(vectors, 1)[1][:, 0]
    generator = np.random.default_rng(seed)
    found = np.full((len(vectors), 2 * DEPTH), -1, dtype=np.int64)
    for trade in range(trades):
        members = np.flatnonzero(trade_of == trade)
        for row in members:
            drawn = generator.permutation(members[members != row])[: 2 * DEPTH]
            found[row, : len(drawn)] = drawn
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is trained on, prepared once for every run over it."""

    skills: Sequence[TrainingSkill]
    heads: Rows  # rows that open the knots of an epoch, those that people ask for several times
    kinship: Kinship
    near: Neighbours


def batches(
    heads: Rows, size: int, near: Neighbours | None, seed: int, start: int = 0
) -> Iterator[Rows]:
    """Endless batches of at most `size` different skills from batch `start` on; by the seed.

    Each epoch opens a knot with every one of `heads`, in its own order; without `near`, batches
    are random.
    """
    knots = max(1, size // KNOT) if near else size
    per_epoch = max(1, len(heads) // knots)
    number = start
    while True:
        epoch, place = divmod(number, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(heads)
        generator = np.random.default_rng([seed, epoch, place])
        opening = order[place * knots : (place + 1) * knots]
        chosen = dict.fromkeys(opening.tolist())
        if near:
            for head in opening:
                chosen.update(dict.fromkeys(_beside(head, near, generator)))
        yield np.array(list(chosen)[:size], dtype=np.int64)
        number += 1


def _beside(head: int, near: Neighbours, generator: np.random.Generator) -> Iterator[int]:
    """The other skills of a knot."""
    kinds = ((near.meaning, BY_MEANING), (near.words, BY_WORDS), (near.trade, BY_TRADE))
    for kind, wanted in kinds:
        known = kind[head][kind[head] >= 0]
        yield from generator.permutation(known)[:wanted].tolist()
