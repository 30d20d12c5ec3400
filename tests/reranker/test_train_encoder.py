"""The training run on the sample skills: it learns, goes on where it stopped, and exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.embedding import HashingEmbedder, load_embedder
from core.skill_format import parse
from reranker.learn.batches import Kinship, Material, neighbours
from reranker.learn.examples import Source, TrainingSkill, training_skill, without_boilerplate
from reranker.learn.export_encoder import export, start_model
from reranker.learn.run import CHECKPOINT, TrainingError, schedule
from reranker.learn.train_encoder import (
    Encode,
    Encoder,
    EncoderTraining,
    Recipe,
    compose,
    info_nce,
)
from tests.support import EXAMPLES

RECIPE = Recipe(steps=6, skills=16, learning_rate=1e-4, tokens=48)
TEXTS = ["fill in this tax form", "为什么数据库变慢了", "deploy " * 60]

Measure = Callable[[Encode], dict[str, float]]


def nothing(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def taught() -> Material:
    drafts = {
        file.parent.name: parse(file.read_bytes(), fallback_name=file.parent.name)
        for file in sorted((EXAMPLES / "skills").rglob("SKILL.md"))
    }
    skills = without_boilerplate([training_skill(name, draft) for name, draft in drafts.items()])
    vectors = HashingEmbedder().embed([skill.routing for skill in skills])
    kinship = Kinship(skills, vectors)
    return Material(
        skills=skills,
        heads=np.arange(len(skills)),
        kinship=kinship,
        near=neighbours(skills, vectors, kinship, seed=1),
    )


def hits(skills: list[TrainingSkill]) -> Measure:
    """The share of descriptions, of the skills trained on, that find their own body first."""

    def measure(encode: Encode) -> dict[str, float]:
        asked = encode([skill.queries[Source.DESCRIPTION][0] for skill in skills])
        bodies = encode([list(skill.passages.values())[-1] for skill in skills])
        cosines = asked @ bodies.T
        margin = np.diag(cosines) - (cosines.sum(1) - np.diag(cosines)) / (len(skills) - 1)
        return {"margin": float(margin.mean())}

    return measure


def described(material: Material) -> list[TrainingSkill]:
    return [skill for skill in material.skills if Source.DESCRIPTION in skill.queries]


def opened(taught: Material, recipe: Recipe, folder: Path) -> EncoderTraining:
    measure = hits(described(taught))
    return EncoderTraining(Encoder(start_model(), "cpu"), taught, recipe, folder, measure)


def trained(taught: Material, recipe: Recipe, folder: Path) -> EncoderTraining:
    training = opened(taught, recipe, folder)
    training.run(nothing, every=3)
    return training


def test_info_nce_is_the_mean_negative_log_softmax_over_what_is_not_ignored() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    passages = torch.tensor([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    owner = torch.tensor([0, 1])
    ignored = torch.tensor([[False, False, True], [False, False, False]])
    first = -np.log(np.exp(6) / (np.exp(6) + np.exp(0)))
    second = -np.log(np.exp(10) / (np.exp(8) + np.exp(10) + np.exp(0)))
    found = info_nce(queries, passages, owner, ignored, temperature=0.1)
    assert found.item() == pytest.approx((first + second) / 2, rel=1e-4)


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe(steps=100, warm_up=0.1)
    rates = [schedule(step, recipe) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[100] == pytest.approx(0)


def test_a_description_is_never_asked_of_the_passage_that_shows_it(taught: Material) -> None:
    generator = np.random.default_rng(0)
    recipe = replace(RECIPE, sources=(Source.DESCRIPTION,))
    for _ in range(20):
        batch = compose(np.arange(len(taught.skills)), taught.skills, recipe, generator)
        assert len(batch.queries) == len(batch.passages) == len(batch.rows) > 0
        for query, owner in zip(batch.queries, batch.owner, strict=True):
            assert query not in batch.passages[owner]


def test_a_run_learns_writes_its_curve_and_exports_what_it_learned(
    taught: Material, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=24)
    training = trained(taught, recipe, tmp_path / "run")
    curve = training.curve()
    assert [line["step"] for line in curve] == list(range(0, 25, 3))
    assert curve[-1]["margin"] > curve[0]["margin"] + 0.05
    assert curve[-1]["loss"] < curve[1]["loss"]
    training.encoder.save(tmp_path / "model")
    folder = export(tmp_path / "model", tmp_path / "out", name="tuned", max_tokens=48)
    exported = load_embedder(str(folder))
    assert exported.space.model == "tuned" and exported.space.dimension == 384
    cosines = (exported.embed(TEXTS) * training.encoder.embed(TEXTS, 48)).sum(axis=1)
    assert cosines.min() > 0.99


def test_a_run_that_was_cut_off_ends_where_an_unbroken_one_does(
    taught: Material, tmp_path: Path
) -> None:
    whole = trained(taught, RECIPE, tmp_path / "whole")
    cut = opened(taught, RECIPE, tmp_path / "cut")

    def stop(step: int, *_: object) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.run(stop, every=3)
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    resumed = trained(taught, RECIPE, tmp_path / "cut")
    assert [line["step"] for line in resumed.curve()] == [0, 3, 6]
    one, other = whole.encoder.embed(TEXTS, 48), resumed.encoder.embed(TEXTS, 48)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_share_of_what_training_changed_is_kept(taught: Material, tmp_path: Path) -> None:
    def weights(kept: float, folder: str) -> torch.Tensor:
        training = trained(taught, replace(RECIPE, steps=2, kept=kept), tmp_path / folder)
        return training.encoder.model.encoder.layer[0].output.dense.weight.detach()

    start = Encoder(start_model(), "cpu").model.encoder.layer[0].output.dense.weight.detach()
    whole = weights(1.0, "whole")
    assert not torch.equal(start, whole)
    torch.testing.assert_close(weights(0.75, "most"), 0.25 * start + 0.75 * whole)
    torch.testing.assert_close(weights(0.75, "most"), 0.25 * start + 0.75 * whole)  # gone on with
    torch.testing.assert_close(weights(0.0, "none"), start)


def test_a_folder_with_another_run_is_refused(taught: Material, tmp_path: Path) -> None:
    trained(taught, replace(RECIPE, steps=1), tmp_path)
    with pytest.raises(TrainingError, match="another recipe"):
        opened(taught, RECIPE, tmp_path)
