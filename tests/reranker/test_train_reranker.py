"""The reranker's training on the sample skills: it learns, resumes and exports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.embedding import HashingEmbedder
from core.skill_format import parse
from reranker.cross_encoder import load_reranker
from reranker.learn.batches import Kinship
from reranker.learn.examples import Source, TrainingSkill, training_skill, with_queries
from reranker.learn.export_encoder import start_model
from reranker.learn.export_reranker import export
from reranker.learn.lists import FirstStage, Lists
from reranker.learn.run import CHECKPOINT, TrainingError
from reranker.learn.train_reranker import (
    CrossEncoderModel,
    Measure,
    Recipe,
    RerankerTraining,
    Score,
    list_loss,
    pair_loss,
)
from reranker.pairs import Document, Windows
from tests.support import EXAMPLES

RECIPE = Recipe(
    steps=6,
    lists=3,
    size=4,
    layers=2,
    apart=1,
    learning_rate=3e-4,
    windows=Windows(task=32, routing=24, document=40),
)


def nothing(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def lists() -> Lists:
    skills = []
    for file in sorted((EXAMPLES / "skills").rglob("SKILL.md")):
        draft = parse(file.read_bytes(), fallback_name=file.parent.name)
        asked = {Source.REQUEST: [draft.description[:60] + "?"]}
        skills.append(with_queries(training_skill(file.parent.name, draft), asked))
    embedder = HashingEmbedder()
    passages = [embedder.embed(list(skill.passages.values())) for skill in skills]
    stage = FirstStage(skills, embedder, passages, {"dense": 0.3, "lexical": 0.7})
    return Lists(skills, stage, Kinship(skills, np.stack([found[0] for found in passages])))


def model(recipe: Recipe) -> CrossEncoderModel:
    return CrossEncoderModel(start_model(), "cpu", recipe, torch.float32)


def best(skills: Sequence[TrainingSkill]) -> Measure:
    """The highest score of a fixed task over the skills: a figure that the weights decide."""

    def measure(score: Score) -> dict[str, float]:
        return {"best": max(score("split the pdf", [skill.document for skill in skills[:4]]))}

    return measure


def opened(lists: Lists, recipe: Recipe, folder: Path) -> RerankerTraining:
    return RerankerTraining(model(recipe), lists, recipe, folder, best(lists.skills))


def weights(training: RerankerTraining) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in training.scorer.model.state_dict().items()}


def test_a_list_is_scored_against_none_of_these() -> None:
    logits = torch.tensor([2.0, 1.0, -1.0])
    others = math.exp(1) + math.exp(-1) + 1
    assert list_loss(logits, 1).item() == pytest.approx(-2 + math.log(math.exp(2) + others))
    everything = math.exp(2) + others
    assert list_loss(logits, 0).item() == pytest.approx(math.log(everything))


def test_right_skills_do_not_compete_with_one_another() -> None:
    both = list_loss(torch.tensor([5.0, 5.0, -9.0]), 2)
    assert both.item() == pytest.approx(math.log(1 + math.exp(-5)), abs=1e-4)


def test_pairs_by_themselves_weigh_right_and_wrong_alike() -> None:
    found = pair_loss(torch.tensor([0.0, 0.0, 0.0, 0.0]), 1)
    assert found.item() == pytest.approx(6 / 4 * math.log(2))
    sure = pair_loss(torch.tensor([9.0, -9.0, -9.0]), 1)
    assert sure.item() < 0.001


def test_a_run_learns_and_its_export_scores_alike(lists: Lists, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=24)
    training = opened(lists, recipe, tmp_path / "run")
    before = _mean_loss(training)
    training.run(nothing, every=24)
    assert _mean_loss(training) < 0.7 * before
    assert [line["step"] for line in training.curve()] == [0, 24]
    exported = load_reranker(str(export(training.scorer, tmp_path / "out", name="tuned")))
    documents = [skill.document for skill in lists.skills[:6]]
    np.testing.assert_allclose(
        exported.score("split the pdf", documents),
        training.scorer.score("split the pdf", documents),
        atol=0.8,
    )


def _mean_loss(training: RerankerTraining) -> float:
    with torch.inference_mode():
        return float(np.mean([training.loss(step).item() for step in range(24)]))


def test_a_run_that_was_cut_off_ends_where_an_unbroken_one_does(
    lists: Lists, tmp_path: Path
) -> None:
    whole = opened(lists, RECIPE, tmp_path / "whole")
    whole.run(nothing, every=3)

    def stop(step: int, *_: object) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(lists, RECIPE, tmp_path / "cut").run(stop, every=3)
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    resumed = opened(lists, RECIPE, tmp_path / "cut")
    resumed.run(nothing, every=3)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], weight, atol=1e-3, rtol=1e-3)


def test_a_folder_with_another_run_is_refused(lists: Lists, tmp_path: Path) -> None:
    opened(lists, replace(RECIPE, steps=1), tmp_path).run(nothing)
    with pytest.raises(TrainingError, match="another recipe"):
        opened(lists, RECIPE, tmp_path)


def test_fewer_layers_are_spread_over_the_sources(lists: Lists) -> None:
    whole, three = model(replace(RECIPE, layers=6)), model(replace(RECIPE, layers=3))
    assert (whole.layers, three.layers) == (6, 3)
    last = [each.model.layers[-1].output.dense.weight for each in (whole, three)]
    torch.testing.assert_close(*last)


def test_apart_a_task_changes_nothing_about_a_skill() -> None:
    """With every layer apart the score is a cosine of two texts that never saw each other."""
    apart = model(replace(RECIPE, apart=2))
    text = "join three scanned contracts"
    pair = apart.tokenizer.pair(text, Document(name="", description="", body=""))
    ids = torch.tensor([pair.ids[: pair.first] * 2])
    document = torch.tensor([[0] * pair.first + [1] * pair.first])
    with torch.inference_mode():
        score = apart.model(ids, torch.ones_like(ids), document)
        same = apart.model.scale * (1 - apart.model.offset)
    assert score.item() == pytest.approx(same.item(), abs=1e-3)
