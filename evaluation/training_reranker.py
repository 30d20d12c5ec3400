"""The reranker's training run: what the readers' lists show, a head over it, held-out figures."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from core.background import BACKGROUND_QUERIES
from core.embedding import Embedder, load_embedder, model_folder
from core.openvino_model import TOKENIZER_FILE
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.fuse import fuse
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.types import ArmHit, Candidate, Filters, IndexedPassage, Vectors
from evaluation.training import Corpus, HeldOut
from evaluation.types import catalogue_of
from reranker.interaction import FIGURES, Standing
from reranker.late_interaction import LateInteractionReranker, TokenStates, WordReader
from reranker.learn.batches import index_row
from reranker.learn.examples import TrainingSkill, without_boilerplate
from reranker.learn.export_reranker import export
from reranker.learn.judged import JudgedList, judged_lists
from reranker.learn.run import TrainingError
from reranker.learn.train_reranker import FiguredList, Recipe, figured, rarity, train
from reranker.pairs import PAIR_FORMAT, TextTokenizer, Windows
from reranker.policy import load_policy

CANDIDATES = 100
"""That each arm is asked for, as a route asks (`LOADSTAR_CANDIDATES`): what an arm did not return
depends on it."""

HELD_OUT_DEPTH = 8
"""Candidates of a held-out question that are scored."""

HELD_OUT_WEIGHT = 0.03
"""Of the logit beside the fused score there; what is served is fitted afterwards."""

CENTRED_ON = 40  # lists or more whose texts say where the mean token is

FIGURES_FILE = "figures.jsonl"

OnList = Callable[[int, int], None]
"""Told the list, and how many there are."""


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

    def fused(self, text: str, catalogue: str | None, k: int = 2 * CANDIDATES) -> list[Candidate]:
        """The best k skills of a catalogue, or of all."""
        hits = {
            "dense": self._by_meaning(text, catalogue),
            "lexical": self._by_words(text, catalogue),
        }
        return fuse(hits, self._weights, k)

    def _by_meaning(self, text: str, catalogue: str | None) -> list[ArmHit]:
        vector = self._embedder.embed([text])[0]
        return dense(self._view, vector, _within(catalogue), CANDIDATES, threads=1)

    def _by_words(self, text: str, catalogue: str | None) -> list[ArmHit]:
        return self._lexical.search(self._view, text, _within(catalogue), CANDIDATES).hits


def _within(catalogue: str | None) -> Filters:
    return Filters(catalogues=(catalogue,) if catalogue else ())


def first_stage(skills: Sequence[TrainingSkill], embedder: Embedder) -> FirstStage:
    """Both arms over these skills, weighed as they are served."""
    owned = [(row, text) for row, skill in enumerate(skills) for text in skill.passages.values()]
    starts = np.unique([row for row, _ in owned], return_index=True)[1]
    vectors: list[Vectors] = np.split(embedder.embed([text for _, text in owned]), starts[1:])
    return FirstStage(skills, embedder, vectors, load_policy().arm_weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutCandidates:
    """Calibration queries, each with the first stage's best for it."""

    held_out: HeldOut
    candidates: Mapping[str, Sequence[Candidate]]  # by qid

    def measure(self, scores: Scores) -> dict[str, float]:
        """Hit@1 of each set, within its catalogue or, without one, over the curve's skills."""
        found: dict[str, list[bool]] = defaultdict(list)
        for query, right in zip(self.held_out.queries, self.held_out.right, strict=True):
            if listed := self.candidates.get(query.qid):
                best = int(np.argmax(scores(query.text, listed)))
                found[query.source].append(listed[best].row in right)
        return {name: float(np.mean(values)) for name, values in sorted(found.items())}


Scores = Callable[[str, Sequence[Candidate]], Sequence[float]]


def held_out_candidates(held_out: HeldOut, embedder: Embedder) -> HeldOutCandidates:
    """The first stage over the curve's skills, asked every query.

    A query is asked within its catalogue, or over all of them where it has none.
    """
    stage = first_stage(held_out.skills, embedder)
    found = {
        query.qid: stage.fused(query.text, query.catalogue, HELD_OUT_DEPTH)
        for query in held_out.queries
    }
    return HeldOutCandidates(held_out=held_out, candidates=found)


def by_first_stage(text: str, candidates: Sequence[Candidate]) -> list[float]:
    """As they were fused."""
    return [candidate.score for candidate in candidates]


def reranked(
    reranker: LateInteractionReranker,
    skills: Sequence[TrainingSkill],
    text: str,
    candidates: Sequence[Candidate],
) -> list[float]:
    """The mix of the fused score and the reranker's."""
    documents = [skills[candidate.row].document for candidate in candidates]
    logits = reranker.score(text, documents, [Standing.of(each) for each in candidates])
    return [
        (1 - HELD_OUT_WEIGHT) * candidate.score + HELD_OUT_WEIGHT * logit
        for candidate, logit in zip(candidates, logits, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReader:
    """What there is to weigh of a judged list, in the readers' order."""

    skills: Sequence[TrainingSkill]
    stage: FirstStage
    words: WordReader

    def read(self, judged: JudgedList) -> tuple[list[list[float]], list[Standing]]:
        """The figures of its pairs, and what the first stage says of its skills."""
        documents = [self.skills[row].document for row in judged.rows]
        pairs = self.words.figures(judged.text, documents)
        found = {
            each.row: Standing.of(each) for each in self.stage.fused(judged.text, judged.catalogue)
        }
        unknown = Standing(fused=0.0, dense=None, lexical=None)
        return pairs, [found.get(row, unknown) for row in judged.rows]


def figured_lists(
    lists: Sequence[JudgedList], reader: ListReader, file: Path, read_by: str, on_list: OnList
) -> list[FiguredList]:
    """Read every list, going on where `file` left off; `read_by` names the space of the encoder.

    Raises TrainingError where the file holds other lists, or what was read in another way.
    """
    told = json.dumps([read_by, PAIR_FORMAT, FIGURES, [asdict(each) for each in lists]])
    identity = sha256(told.encode()).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    held = file.read_text() if file.is_file() else ""
    whole = held[: held.rfind("\n") + 1]  # a kill may have torn the last line
    first, *lines = whole.splitlines() or [identity]
    if first != identity:
        raise TrainingError(
            f"{file} holds other lists, or what was read in another way. Name another folder, or "
            "remove it."
        )
    unfinished = file.with_suffix(".new")
    unfinished.write_text(whole or identity + "\n")
    unfinished.replace(file)
    with file.open("a") as kept:
        for number, judged in enumerate(lists[len(lines) :], start=len(lines) + 1):
            pairs, standings = reader.read(judged)
            lines.append(json.dumps([pairs, [asdict(each) for each in standings]]))
            kept.write(lines[-1] + "\n")
            on_list(number, len(lists))
    found = []
    for judged, line in zip(lists, lines, strict=True):
        pairs, standings = json.loads(line)
        first_stage_says = [Standing(**each) for each in standings]
        found += figured(judged.rows, pairs, first_stage_says, judged.right)
    return found


def train_reranker(
    corpus: Corpus,
    recipe: Recipe,
    run: Path,
    output: Path,
    *,
    encoder: str,
    name: str,
    on_list: OnList,
) -> list[dict[str, float]]:
    """Read the judged lists, train the head over them, and write the reranker to `output`.

    `encoder` is the exported one whose words are read. Killed, it goes on where `run` left off.
    Returns the held-out figures before and after. Raises TrainingError where `run` holds another
    run, or no list is over these skills.
    """
    threads = torch.get_num_threads()
    skills = without_boilerplate(corpus.train)
    lists = judged_lists(skills)
    if not lists:
        raise TrainingError("No judged list is over these skills.")
    windows = Windows()
    folder = model_folder(encoder)
    embedder = load_embedder(str(folder), threads=2, streams=2)
    tokenizer = TextTokenizer(folder / TOKENIZER_FILE, windows)
    states = TokenStates(folder)
    centre = np.concatenate(states.read(_sample(lists, skills, tokenizer))).mean(axis=0)
    words = rarity([tokenizer.line(skill.document) for skill in skills], tokenizer.size)
    reader = ListReader(
        skills=skills,
        stage=first_stage(skills, embedder),
        words=WordReader(states, tokenizer, centre, words),
    )
    read = figured_lists(lists, reader, run / FIGURES_FILE, embedder.space.id, on_list)
    # FAISS and torch share one OpenMP: the single thread of a scan would stay torch's too.
    torch.set_num_threads(threads)
    head = train(read, recipe, centre=centre, rarity=words)
    export(head, output, name=name, encoder=encoder, windows=windows)
    held_out = held_out_candidates(corpus.held_out, embedder)
    scores = partial(reranked, LateInteractionReranker(output), corpus.held_out.skills)
    return [
        {"step": 0, **held_out.measure(by_first_stage)},
        {"step": recipe.epochs, **held_out.measure(scores)},
    ]


def _sample(
    lists: Sequence[JudgedList], skills: Sequence[TrainingSkill], tokenizer: TextTokenizer
) -> list[tuple[int, ...]]:
    """Tasks and what is read of their best skills."""
    drawn = lists[:: max(1, len(lists) // CENTRED_ON)]
    return [
        ids
        for each in drawn
        for ids in (
            tokenizer.task(each.text),
            *(tokenizer.document(each.text, skills[row].document).ids for row in each.rows[:3]),
        )
    ]
