"""Lists that a reranker learns from: a question, its right skills and what is taken for them.

The candidates of a question are what the first stage itself finds for it among the skills to
train on, as it will when it serves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.background import BACKGROUND_QUERIES
from core.embedding import Embedder
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.fuse import fuse
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.types import ArmHit, Filters, IndexedPassage, Vectors
from reranker.learn.batches import Kinship, index_row
from reranker.learn.examples import Source, TrainingSkill
from reranker.learn.run import TrainingError

DEPTH = 24
"""First-stage candidates that the wrong ones of a list are drawn from."""

TRIES = 100
"""Questions that are drawn for a list before the first stage counts as missing all."""

SHARES = {Source.REQUEST: 0.65, Source.PROMPT: 0.20, Source.TASK: 0.15}
"""How often a question of a source is drawn: long tasks more often than there are of them. What a
skill asks of itself is left out: the first stage has read it too, and so knows the answer."""

WITHIN = 0.5
"""Share of the lists that are found within the right skill's catalogue, as a filtered route's."""

OTHER_CATALOGUE_COSINE = 0.80
"""From here on a skill of another catalogue may be right too. Within one catalogue skills are
made to differ, and only `Kinship` says which may be; two catalogues often do the same thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text with the rows of the skills that it asks for."""

    text: str
    source: Source
    right: tuple[int, ...]


def questions(skills: Sequence[TrainingSkill]) -> list[Question]:
    """Every query of the skills that is of a source of SHARES once, with all that it asks for."""
    right: dict[tuple[Source, str], list[int]] = defaultdict(list)
    for row, skill in enumerate(skills):
        for source in SHARES:
            for text in dict.fromkeys(skill.queries.get(source, ())):
                right[source, text].append(row)
    return [
        Question(text=text, source=source, right=tuple(rows))
        for (source, text), rows in right.items()
    ]


def _by_skill(asked: Sequence[Question]) -> dict[Source, list[list[Question]]]:
    """By source, the questions of each skill that any asks for."""
    found: dict[Source, dict[int, list[Question]]] = defaultdict(lambda: defaultdict(list))
    for question in asked:
        for row in question.right:
            found[question.source][row].append(question)
    return {source: list(of_source.values()) for source, of_source in found.items()}


class FirstStage:
    """Both arms and their fusion over the skills to train on."""

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
                catalogue=catalogue_of(skill),
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


def catalogue_of(skill: TrainingSkill) -> str:
    """The `owner/repo` that a skill's place begins with."""
    return "/".join(skill.place.split("/", 2)[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateList:
    """What one question is learned from: the right rows first."""

    question: Question
    rows: tuple[int, ...]
    right: int  # how many of `rows` are right; 0 for a list whose right ones were left out


class Lists:
    """Draws the lists of a run."""

    def __init__(
        self, skills: Sequence[TrainingSkill], first_stage: FirstStage, kinship: Kinship
    ) -> None:
        self.skills = skills
        self._first_stage = first_stage
        self._kinship = kinship
        self._asked = _by_skill(questions(skills))
        if not self._asked:
            raise TrainingError("No skill to train on is asked for by a question of people.")
        shares = np.array([SHARES[source] for source in self._asked])
        self._shares = shares / shares.sum()

    def __len__(self) -> int:
        """How many skills are asked for, of every source together."""
        return sum(map(len, self._asked.values()))

    def draw(
        self, number: int, count: int, size: int, none: float, seed: int
    ) -> list[CandidateList]:
        """The `count` lists of step `number`, each of at most `size` skills.

        A source, a skill that it asks for, and one of its questions are drawn in turn, so that no
        skill is right more often than others: with questions drawn alike a run learned which
        skills are asked for most, and called them right. A question that the first stage misses
        is passed over. A share `none` of the lists holds no right skill. Raises TrainingError
        where the first stage misses nearly all.
        """
        generator = np.random.default_rng([seed, number, 2])
        drawn: list[CandidateList] = []
        for _ in range(TRIES * count):
            if len(drawn) == count:
                return drawn
            found = self._list(self._question(generator), size, generator)
            if found is None:
                continue
            if generator.random() < none:
                found = replace(found, rows=found.rows[found.right :], right=0)
            drawn.append(found)
        raise TrainingError("Hardly a question finds a right skill beside wrong ones: no lists.")

    def _question(self, generator: np.random.Generator) -> Question:
        by_source = list(self._asked.values())
        by_skill = by_source[int(generator.choice(len(by_source), p=self._shares))]
        of_skill = by_skill[int(generator.integers(len(by_skill)))]
        return of_skill[int(generator.integers(len(of_skill)))]

    def _list(
        self, question: Question, size: int, generator: np.random.Generator
    ) -> CandidateList | None:
        """What the first stage finds for a question, over all or within a right one's catalogue.

        None where it finds nothing right, or nothing wrong. A right skill that it missed must not
        be put in: among what it found, the one without the task's words would be right.
        """
        home = catalogue_of(self.skills[question.right[0]])
        scope = home if generator.random() < WITHIN else None
        found = [row for row, _ in self._first_stage.fused(question.text, scope, DEPTH)]
        right = [row for row in found if row in question.right][: max(1, size // 4)]
        wrong = self._apart(question, found)
        if not right or not wrong:
            return None
        shown = _nearer(wrong, size - len(right), generator)
        return CandidateList(question=question, rows=(*right, *shown), right=len(right))

    def _apart(self, question: Question, rows: Sequence[int]) -> list[int]:
        """Those that cannot be right as well."""
        found, right = np.array(rows, dtype=np.int64), np.array(question.right, dtype=np.int64)
        kin = self._kinship.may_share(right, found)
        close = self._kinship.cosines(right, found) >= OTHER_CATALOGUE_COSINE
        homes = [catalogue_of(self.skills[row]) for row in rows]
        away = np.array(
            [[catalogue_of(self.skills[one]) != home for home in homes] for one in question.right]
        )
        return [int(row) for row in found[~(kin | (close & away)).any(axis=0)]]


def _nearer(rows: Sequence[int], count: int, generator: np.random.Generator) -> list[int]:
    """Drawn without return, the n-th with a weight of 1 / (n + 4): near ones rather than far."""
    if len(rows) <= count:
        return list(rows)
    weights = 1 / (np.arange(len(rows)) + 4)
    places = generator.choice(len(rows), count, replace=False, p=weights / weights.sum())
    return [rows[place] for place in places]
