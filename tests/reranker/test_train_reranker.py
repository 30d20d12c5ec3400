"""The reranker's training on the sample skills: what it draws, learns, resumes and exports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.embedding import HashingEmbedder
from core.retrieval.lexical import analyse
from core.skill_format import parse
from core.text import spoken_name
from reranker.late_interaction import similarities
from reranker.learn.batches import KNOT, Drawn, Kinship, Material, batches, neighbours
from reranker.learn.examples import (
    Source,
    TrainingSkill,
    sentences,
    training_skill,
    with_queries,
)
from reranker.learn.export_encoder import start_model
from reranker.learn.export_reranker import export
from reranker.learn.run import CHECKPOINT, TrainingError
from reranker.learn.train_reranker import (
    SCALE,
    Batch,
    LateInteraction,
    Measure,
    Recipe,
    RerankerTraining,
    Score,
    compose,
    list_loss,
    pair_loss,
)
from reranker.load import load_reranker
from reranker.pairs import Windows, matched_passage
from tests.support import EXAMPLES

RECIPE = Recipe(
    steps=6,
    skills=8,
    layers=2,
    learning_rate=3e-4,
    windows=Windows(task=32, routing=24, document=40),
)


def nothing(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def taught() -> Material:
    skills = []
    for file in sorted((EXAMPLES / "skills").rglob("SKILL.md")):
        skill = training_skill(
            file.parent.name, parse(file.read_bytes(), fallback_name=file.parent.name)
        )
        asked = {Source.REQUEST: [f"please {skill.document.description[:60]}?"]}
        skills.append(with_queries(skill, asked))
    vectors = HashingEmbedder().embed([skill.routing for skill in skills])
    kinship = Kinship(skills, vectors)
    return Material(
        skills=skills,
        asked=np.arange(len(skills)),
        heads=np.arange(len(skills)),
        kinship=kinship,
        near=neighbours(skills, vectors, kinship, seed=1),
    )


def model(recipe: Recipe) -> LateInteraction:
    return LateInteraction(start_model(), "cpu", recipe, torch.float32)


def best(skills: Sequence[TrainingSkill]) -> Measure:
    """The highest score of a fixed task over the skills: a figure that the weights decide."""

    def measure(score: Score) -> dict[str, float]:
        return {"best": max(score("split the pdf", [skill.document for skill in skills[:4]]))}

    return measure


def opened(taught: Material, recipe: Recipe, folder: Path) -> RerankerTraining:
    return RerankerTraining(model(recipe), taught, recipe, folder, best(taught.skills))


def weights(training: RerankerTraining) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in training.scorer.model.state_dict().items()}


def test_a_question_is_scored_against_every_skill_and_none() -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [3.0, 0.0, 9.0]])
    uncertain = torch.tensor([[False, False, False], [False, False, True]])
    first = -2 + math.log(math.exp(2) + math.exp(1) + math.exp(-1) + 1)
    none = math.log(math.exp(3) + 1 + 1)
    found = list_loss(logits, torch.tensor([0, 3]), uncertain)
    assert found.item() == pytest.approx((first + none) / 2, abs=1e-5)


def test_pairs_by_themselves_weigh_right_and_wrong_alike() -> None:
    certain = torch.zeros(1, 4, dtype=torch.bool)
    right = torch.tensor([0])
    assert pair_loss(torch.zeros(1, 4), right, certain).item() == pytest.approx(math.log(2))
    missed = pair_loss(torch.tensor([[-5.0, -5.0, -5.0, -5.0]]), right, certain).item()
    assert missed == pytest.approx((5 + math.log(1 + math.exp(-5))) / 2, abs=0.01)
    uncertain = torch.tensor([[False, False, False, True]])
    assert pair_loss(torch.tensor([[9.0, -9.0, -9.0, 9.0]]), right, uncertain).item() < 0.001


def test_the_trained_form_of_the_similarity_is_the_served_one() -> None:
    generator = torch.Generator().manual_seed(1)
    scorer = model(RECIPE)
    tasks = [torch.randn(n, 8, generator=generator) for n in (1, 4)]
    documents = [torch.randn(n, 8, generator=generator) for n in (2, 5, 1)]
    with torch.inference_mode():
        found = scorer.logits(tasks, documents)
    for row, task in enumerate(tasks):
        served = similarities(
            task.numpy().astype(np.float16), [d.numpy().astype(np.float16) for d in documents]
        )
        np.testing.assert_allclose(found[row], SCALE * served, atol=0.05)


def knots(material: Material) -> Drawn:
    """A batch whose second knot lacks a skill that is in the first too."""
    return next(batches(material.asked, 2 * KNOT, material.near, seed=1))


def test_a_batch_shows_each_skill_as_its_knot_was_searched(taught: Material) -> None:
    drawn = knots(taught)
    batch = compose(drawn, taught.skills, replace(RECIPE, mask=0.0), np.random.default_rng(1))
    first = dict(zip(batch.owner[::-1].tolist(), batch.questions[::-1], strict=True))
    for place, row in enumerate(drawn.rows):
        searched = frozenset(analyse(first[drawn.opener[place]]))
        body = taught.skills[row].document.body
        found = matched_passage(searched, body)
        assert _words_of(batch.documents[place][1]) <= _words_of(found)
        assert len(batch.documents[place][1]) > 0.3 * len(found)
        if found != matched_passage(frozenset(analyse(first[place])), body):
            break
    else:
        pytest.fail("no skill showed another passage than its own question's")


def _words_of(text: str) -> set[str]:
    return set(text.split())


def test_what_a_skill_says_of_itself_is_taken_out_of_what_it_shows(taught: Material) -> None:
    told = 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        batch = compose(knots(taught), taught.skills, replace(RECIPE, mask=1.0), generator)
        shown = [f"{line} {passage}" for line, passage in batch.documents]
        for place, question in zip(batch.owner, batch.questions, strict=True):
            skill = taught.skills[batch.rows[place]]
            assert spoken_name(skill.name).lower() not in shown[place].lower()
            assert not batch.documents[place][0].startswith(".")
            if question not in skill.queries[Source.REQUEST]:
                told += 1
                assert all(part not in shown[place] for part in sentences(question))
    assert told > 20


def test_a_skill_without_questions_is_shown_and_asks_nothing(taught: Material) -> None:
    silent = [replace(taught.skills[0], queries={}), *taught.skills[1:8]]
    drawn = Drawn(rows=np.arange(8), opener=np.zeros(8, dtype=np.int64))
    batch = compose(drawn, silent, RECIPE, np.random.default_rng(1))
    assert len(batch.documents) == 8 and 0 not in batch.owner


def test_a_run_learns_and_its_export_scores_alike(taught: Material, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=20, none=0.0)
    training = opened(taught, recipe, tmp_path / "run")
    before = training.scorer.score("split the pdf", [taught.skills[0].document])
    losses = _losses(training, recipe)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    exported = load_reranker(str(export(training.scorer, tmp_path / "out", name="tuned")))
    documents = [skill.document for skill in taught.skills[:6]]
    trained = training.scorer.score("split the pdf", documents)
    assert trained[0] != before[0]
    np.testing.assert_allclose(exported.score("split the pdf", documents), trained, atol=0.8)


def _losses(training: RerankerTraining, recipe: Recipe) -> list[float]:
    heard: list[float] = []
    loss = training.loss

    def noted(step: int) -> torch.Tensor:
        found = loss(step)
        heard.append(found.item())
        return found

    training.loss = noted  # type: ignore[method-assign]
    training.run(nothing, every=recipe.steps)
    assert [line["step"] for line in training.curve()] == [0, recipe.steps]
    return heard


def test_the_zero_starts_above_most_skills(taught: Material, tmp_path: Path) -> None:
    scorer = opened(taught, RECIPE, tmp_path).scorer
    task = taught.skills[3].queries[Source.REQUEST][0]
    logits = np.array(scorer.score(task, [skill.document for skill in taught.skills]))
    assert (logits > 0).mean() < 0.2 and np.argmax(logits) == 3
    assert scorer.model.centre.norm() > 0.1


def test_a_question_left_out_is_answered_by_none_whatever_its_skill_scores(
    taught: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = opened(taught, replace(RECIPE, none=1.0), tmp_path)

    def sure_of_the_right_one(batch: Batch) -> torch.Tensor:
        right = torch.from_numpy(batch.owner)[:, None] == torch.arange(len(batch.rows))
        return torch.where(right, 50.0, -50.0)

    monkeypatch.setattr(every, "_logits", sure_of_the_right_one)
    assert every.loss(0).item() < 1e-3


def test_a_run_that_was_cut_off_ends_where_an_unbroken_one_does(
    taught: Material, tmp_path: Path
) -> None:
    whole = opened(taught, RECIPE, tmp_path / "whole")
    whole.run(nothing, every=3)

    def stop(step: int, *_: object) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(taught, RECIPE, tmp_path / "cut").run(stop, every=3)
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    before = weights(opened(taught, RECIPE, tmp_path / "cut"))
    resumed = opened(taught, RECIPE, tmp_path / "cut")
    resumed.run(nothing, every=3)
    moved = 0.0
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], weight, atol=1e-5, rtol=1e-4)
        moved = max(moved, (weight - before[name]).abs().max().item())
    assert moved > 1e-4


def test_a_folder_with_another_run_is_refused(taught: Material, tmp_path: Path) -> None:
    opened(taught, replace(RECIPE, steps=1), tmp_path).run(nothing)
    with pytest.raises(TrainingError, match="another recipe"):
        opened(taught, RECIPE, tmp_path)


def test_fewer_layers_are_spread_over_the_sources() -> None:
    whole, three = model(replace(RECIPE, layers=6)), model(replace(RECIPE, layers=3))
    assert (whole.layers, three.layers) == (6, 3)
    for mine, of_whole in enumerate((0, 2, 5)):
        kept = [whole.model.layers[of_whole], three.model.layers[mine]]
        torch.testing.assert_close(*(layer.output.dense.weight for layer in kept))
    with pytest.raises(TrainingError, match="6 layers, not 7"):
        model(replace(RECIPE, layers=7))


def test_a_run_over_skills_that_nobody_asks_for_is_refused(
    taught: Material, tmp_path: Path
) -> None:
    unasked = replace(taught, asked=np.array([], dtype=np.int64))
    with pytest.raises(TrainingError, match="asked for"):
        opened(unasked, RECIPE, tmp_path)
