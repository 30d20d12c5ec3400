"""Our own reranker: its similarity by hand, what it keeps, what it costs, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ModelMissingError
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from core.telemetry import RERANK_PAIRS, RERANK_TOKENS
from reranker import late_interaction
from reranker.late_interaction import CARD_FILE, LateInteractionReranker, Words, similarities
from reranker.learn.export_encoder import start_model
from reranker.learn.export_reranker import export
from reranker.learn.train_reranker import LateInteraction, Recipe
from reranker.load import load_reranker
from reranker.pairs import Document

TASK = "join three scanned contracts into one PDF"
DOCUMENTS = [
    Document(name="pdf-merge", description=f"Merges {n} files.", body="Open every file. " * n)
    for n in (1, 30, 200)
] + [Document(name="weather", description="", body="")]


@pytest.fixture(scope="module")
def model() -> LateInteraction:
    found = LateInteraction(start_model(), "cpu", Recipe(layers=3), torch.float32)
    texts = [found.tokenizer.document("a line", "a passage"), found.tokenizer.task(TASK)]
    found.model.centre.data = found.mean_token(texts)
    torch.manual_seed(0)
    torch.nn.init.normal_(found.model.importance.weight, std=0.5)
    return found


@pytest.fixture(scope="module")
def folder(model: LateInteraction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("reranker"), name="mine")


def words(*rows: Sequence[float]) -> Words:
    return np.array(rows, dtype=np.float16).reshape(len(rows), 2)


def test_each_word_of_the_task_finds_its_nearest_and_counts_as_it_weighs() -> None:
    task = words((3, 0), (0, 1))  # the first weighs three times the second
    north, east = words((0, 5)), words((0.1, 0), (0, -2))
    found = similarities(task, [north, east, words()])
    np.testing.assert_allclose(found, [(3 * 0 + 1 * 1) / 4, (3 * 1 + 1 * 0) / 4, 0], atol=1e-3)
    assert similarities(words(), [north]).tolist() == [0.0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 1_000))
def test_a_similarity_depends_on_its_own_document_only(sizes: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    task = generator.normal(size=(3, 8)).astype(np.float16)
    documents = [generator.normal(size=(size, 8)).astype(np.float16) for size in sizes]
    together = similarities(task, documents)
    alone = [similarities(task, [document])[0] for document in documents]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert (np.abs(together) <= 1 + 1e-5).all()


def test_the_exported_model_scores_as_the_trained_one(model: LateInteraction, folder: Path) -> None:
    exported = load_reranker(str(folder))
    assert exported.name == "mine"
    trained = model.score(TASK, DOCUMENTS)
    # bf16 keeps 8 bits: of a logit of 40 x cosine about .3.
    np.testing.assert_allclose(exported.score(TASK, DOCUMENTS), trained, atol=0.6)
    assert np.ptp(trained) > 3


def test_a_score_does_not_depend_on_what_is_scored_beside_it(folder: Path) -> None:
    together = load_reranker(str(folder)).score(TASK, DOCUMENTS)
    alone = [load_reranker(str(folder)).score(TASK, [document])[0] for document in DOCUMENTS]
    np.testing.assert_allclose(together, alone, atol=0.4)
    assert load_reranker(str(folder)).score(TASK, []) == []


def counted() -> tuple[float, float]:
    return RERANK_PAIRS._value.get(), RERANK_TOKENS._value.get()


def test_what_was_read_of_a_skill_is_not_read_again(folder: Path) -> None:
    exported = load_reranker(str(folder))
    task_tokens = len(LateInteraction(start_model(), "cpu", Recipe()).tokenizer.task(TASK))
    before = counted()
    first = exported.score(TASK, DOCUMENTS)
    pairs, tokens = np.subtract(counted(), before)
    assert (pairs, tokens) == (4, task_tokens + sum(exported.cost(TASK, DOCUMENTS)))
    assert exported.score(TASK, DOCUMENTS) == first
    assert np.subtract(counted(), before).tolist() == [8, tokens]
    exported.score("merge the files", DOCUMENTS)
    assert np.subtract(counted(), before)[1] < tokens + 20


def test_no_more_is_kept_than_the_bytes_allow(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_interaction, "KEPT_BYTES", 100 * 384 * 2)
    small, whole = LateInteractionReranker(folder), load_reranker(str(folder))
    for _ in range(2):
        np.testing.assert_allclose(
            small.score(TASK, DOCUMENTS), whole.score(TASK, DOCUMENTS), atol=0.4
        )
    assert 0 < small._kept.currsize <= 100 * 384 * 2


@pytest.mark.parametrize("missing", [CARD_FILE, ONNX_FILE, TOKENIZER_FILE])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, missing: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / missing).unlink()
    with pytest.raises(ModelMissingError, match=missing):
        LateInteractionReranker(copy)


def test_a_torn_model_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / ONNX_FILE).write_bytes((copy / ONNX_FILE).read_bytes()[:5_000])
    with pytest.raises(ModelMissingError, match="torn"):
        LateInteractionReranker(copy)


def test_a_model_for_other_texts_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = json.loads((copy / CARD_FILE).read_text()) | {"pair_format": "r1"}
    (copy / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ModelMissingError, match="r1"):
        LateInteractionReranker(copy)
