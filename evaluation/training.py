"""What the encoder is trained on, and the rows that show how it comes on: by the committed split.

Training sees skills of the train side and those that nothing ties to a labelled row, only of
licences that permit it. The held-out curve is drawn over calibration rows and tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.embedding import Embedder, load_embedder
from core.types import SkillDraft, Vectors, text_hash
from evaluation.datasets import SKILLS_FILE
from evaluation.fitting import MAY_TRAIN, may_train
from evaluation.prepare import WHOLE_SETS, Prepared
from evaluation.types import Place, Query, Split, catalogue_of
from evaluation.untuned_system import UNTUNED
from evaluation.written import REQUESTS, TASKS, WRITTEN
from indexer import package
from indexer.package import Package
from indexer.sources import dump
from reranker.learn.batches import Kinship, Material, neighbours
from reranker.learn.examples import (
    PEOPLE,
    Source,
    TrainingSkill,
    training_skill,
    with_queries,
    without_boilerplate,
)
from reranker.learn.export_encoder import export, start_model
from reranker.learn.run import OnStep
from reranker.learn.train_encoder import Encode, Encoder, EncoderTraining, Recipe

CURVE_SKILLS = 3_000
"""Skills of the held-out curve: the labelled catalogues, what the tasks need, and others."""

PEOPLE_REPEATS = 4
"""How often a skill with queries of PEOPLE opens a knot in each epoch: they are one in four."""

SOURCES = {TASKS: Source.TASK, REQUESTS: Source.REQUEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Calibration queries, each with its right skills and the skills it is ranked over."""

    skills: Sequence[TrainingSkill]
    queries: Sequence[Query]
    right: Sequence[frozenset[int]]  # by query: rows of `skills`, twins included

    def measure(self, encode: Encode) -> dict[str, float]:
        """Hit@1 within its catalogue of each set, Recall@50 of the written rows over all."""
        scores = self.scores(encode)
        found: dict[str, list[float]] = defaultdict(list)
        recalls, firsts = self.recalls(scores), self.firsts(scores)
        for query in self.queries:
            value = recalls[query.qid] if query.source in WRITTEN else firsts[query.qid]
            found[query.source].append(value)
        return {name: float(np.mean(values)) for name, values in sorted(found.items())}

    def scores(self, encode: Encode) -> Vectors:
        """Each skill's nearest passage, shape (queries, skills)."""
        owned = [
            (row, text) for row, skill in enumerate(self.skills) for text in skill.passages.values()
        ]
        vectors = encode([text for _, text in owned])
        starts = np.unique([row for row, _ in owned], return_index=True)[1]
        asked = encode([query.text for query in self.queries])
        return np.maximum.reduceat(asked @ vectors.T, starts, axis=1)

    def recalls(self, scores: Vectors) -> dict[str, float]:
        """By qid: the share of the right skills among the first 50 of all."""
        return {
            query.qid: len(right.intersection(np.argsort(-row)[:50].tolist())) / len(right)
            for row, query, right in zip(scores, self.queries, self.right, strict=True)
        }

    def firsts(self, scores: Vectors) -> dict[str, float]:
        """By qid: whether the first skill of the query's catalogue is right; where it has one."""
        catalogues = np.array([catalogue_of(skill.place) for skill in self.skills])
        found = {}
        for row, query, right in zip(scores, self.queries, self.right, strict=True):
            if query.catalogue:
                inside = np.flatnonzero(catalogues == query.catalogue)
                found[query.qid] = float(int(inside[row[inside].argmax()]) in right)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The skills to train on, and what to measure over."""

    train: Sequence[TrainingSkill]
    held_out: HeldOut


def read_corpus(prepared: Prepared) -> Corpus:
    """Read every skill that training or the curve needs; two minutes for the whole dump."""
    training = {
        place
        for place, row in prepared.skills.items()
        if row.licence in MAY_TRAIN
        and prepared.labelled.assignment.of_skill(place) in (None, Split.TRAIN)
    }
    asked = _curve_queries(prepared)
    curve = _curve_skills(prepared, asked)
    people = _people_queries(prepared)
    train, held_out = [], []
    for place, draft in _drafts(prepared.folder / SKILLS_FILE):
        if not draft.routable or place not in training | curve:
            continue
        skill = training_skill(place, draft, prepared.skills[place].near_group)
        if place in training:
            train.append(with_queries(skill, people.get(place, {})))
        if place in curve:
            held_out.append(replace(skill, queries={}))
    return Corpus(train=train, held_out=_held_out(held_out, asked))


def _drafts(dump_file: Path) -> Iterator[tuple[Place, SkillDraft]]:
    for found in dump.packages(dump_file):
        if isinstance(found, Package):
            place = f"{found.catalogue}/{found.path}" if found.path else found.catalogue
            yield place, package.read(found)[0]


def _people_queries(prepared: Prepared) -> dict[Place, Mapping[Source, Sequence[str]]]:
    """By skill: the rows of the train side that do not name it."""
    found: dict[Place, dict[Source, list[str]]] = defaultdict(lambda: defaultdict(list))
    for query in (*prepared.labelled.queries, *prepared.written):
        usable = query.split is Split.TRAIN and not query.names_skill
        if usable and may_train(query, prepared.skills):
            for place in query.relevant:
                found[place][SOURCES.get(query.source, Source.PROMPT)].append(query.text)
    for pair in prepared.labelled.pairs:
        if pair.split is Split.TRAIN and pair.should_load and not pair.names_skill:
            found[pair.place][Source.PROMPT].append(pair.text)
    return dict(found)


def _curve_queries(prepared: Prepared) -> list[Query]:
    return [
        query
        for query in (*prepared.labelled.queries, *prepared.written)
        if query.source in WHOLE_SETS | WRITTEN
        and query.split is Split.CALIBRATION
        and query.relevant
        and not query.names_skill
    ]


def _curve_skills(prepared: Prepared, queries: Sequence[Query]) -> frozenset[Place]:
    whole = {query.catalogue for query in queries if query.catalogue}
    needed = {place for place in prepared.skills if catalogue_of(place) in whole}
    needed.update(place for query in queries for place in query.relevant)
    others = sorted(prepared.skills.keys() - needed, key=text_hash)
    return frozenset(needed.union(others[: max(0, CURVE_SKILLS - len(needed))]))


def _held_out(skills: Sequence[TrainingSkill], queries: Sequence[Query]) -> HeldOut:
    """The queries whose skills are all routable, with their right rows."""
    group_of = {skill.place: skill.twins or skill.place for skill in skills}
    members: dict[str, list[int]] = defaultdict(list)
    for row, skill in enumerate(skills):
        members[group_of[skill.place]].append(row)
    kept = [query for query in queries if group_of.keys() >= set(query.relevant)]
    right = [
        frozenset(row for place in query.relevant for row in members[group_of[place]])
        for query in kept
    ]
    return HeldOut(skills=skills, queries=kept, right=right)


def material(skills: Sequence[TrainingSkill], embedder: Embedder, seed: int) -> Material:
    """The skills with their kin and neighbours, mined with an untuned encoder; some minutes."""
    usable = without_boilerplate(skills)
    vectors = embedder.embed([skill.routing for skill in usable])
    kinship = Kinship(usable, vectors)
    asked = [row for row, skill in enumerate(usable) if PEOPLE & skill.queries.keys()]
    return Material(
        skills=usable,
        heads=np.array([*range(len(usable)), *asked * (PEOPLE_REPEATS - 1)], dtype=np.int64),
        kinship=kinship,
        near=neighbours(usable, vectors, kinship, seed),
    )


def train_encoder(
    corpus: Corpus,
    recipe: Recipe,
    run: Path,
    output: Path,
    *,
    device: str,
    name: str,
    every: int,
    on_step: OnStep,
) -> list[dict[str, float]]:
    """Train to the recipe's end, going on where `run` left off; export to `output`.

    Returns the held-out curve. Raises TrainingError where `run` holds another run.
    """
    taught = material(corpus.train, load_embedder(UNTUNED), recipe.seed)
    encoder = Encoder(start_model(), device)
    training = EncoderTraining(encoder, taught, recipe, run, corpus.held_out.measure)
    training.run(on_step, every=every)
    encoder.save(run / "model")
    export(run / "model", output, name=name, max_tokens=recipe.tokens)
    return training.curve()
