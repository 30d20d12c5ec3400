"""Our own reranker: what it reads, keeps and costs, how its head weighs, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.embedding import CARD_FILE as ENCODER_CARD
from core.embedding import DEFAULT_ENCODER, MODELS
from core.errors import ModelMissingError
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from core.telemetry import RERANK_PAIRS, RERANK_TOKENS
from reranker import late_interaction
from reranker.interaction import COLUMNS, Standing
from reranker.late_interaction import (
    CARD_FILE,
    HEAD_FILE,
    Card,
    Head,
    LateInteractionReranker,
    TokenStates,
    WordReader,
)
from reranker.learn.export_encoder import start_model
from reranker.learn.export_reranker import export
from reranker.load import OWN_RERANKER, load_reranker
from reranker.pairs import Document, TextTokenizer, Windows

ENCODER = MODELS / "minilm-l6-v2"
TASK = "join three scanned contracts into one PDF"
DOCUMENTS = [
    Document(name="pdf-merge", description=f"Merges {n} files.", body="Open every file. " * n)
    for n in (1, 30, 200)
] + [Document(name="weather", description="", body="")]
STANDINGS = [Standing(fused=0.9 - n / 10, dense=0.5, lexical=float(n)) for n in range(4)]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(ENCODER / TOKENIZER_FILE, Windows())


@pytest.fixture(scope="module")
def states() -> TokenStates:
    return TokenStates(ENCODER)


@pytest.fixture(scope="module")
def folder(
    states: TokenStates, tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("reranker")
    columns = COLUMNS
    draw = np.random.default_rng(1).normal
    head = Head(
        centre=states.read([tokenizer.task(TASK)])[0].mean(axis=0),
        rarity=np.linspace(1, 9, tokenizer.size).astype(np.float32),
        mean=np.zeros(columns, dtype=np.float32),
        spread=np.ones(columns, dtype=np.float32),
        inner=draw(size=(columns, 64)).astype(np.float32),
        inner_bias=np.ones(64, dtype=np.float32),
        outer=np.ones(64, dtype=np.float32),
        outer_bias=np.array(0.5, dtype=np.float32),
    )
    export(head, out, name="mine", encoder=str(ENCODER), windows=Windows())
    return out


@pytest.fixture
def reader(states: TokenStates, tokenizer: TextTokenizer, folder: Path) -> WordReader:
    head = Head.read(folder)
    return WordReader(states, tokenizer, head.centre, head.rarity)


def test_a_head_is_one_layer_over_standardised_columns() -> None:
    head = Head(
        centre=np.zeros(1, dtype=np.float32),
        rarity=np.zeros(1, dtype=np.float32),
        mean=np.array([1, 0], dtype=np.float32),
        spread=np.array([2, 1], dtype=np.float32),
        inner=np.array([[1, 0], [0, -1]], dtype=np.float32),
        inner_bias=np.array([0, 1], dtype=np.float32),
        outer=np.array([3, 10], dtype=np.float32),
        outer_bias=np.array(0.25, dtype=np.float32),
    )
    columns = np.array([[5, 0.5], [-3, 4]], dtype=np.float32)
    assert head.logits(columns).tolist() == [3 * 2 + 10 * 0.5 + 0.25, 0.25]


def test_words_are_the_encoders_from_their_mean(
    tokenizer: TextTokenizer, reader: WordReader
) -> None:
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(start_model(), add_pooling_layer=False)
    ids = tokenizer.task(TASK)
    with torch.inference_mode():
        hidden = encoder(torch.tensor([ids])).last_hidden_state[0]
    expected = torch.nn.functional.normalize(hidden - hidden.mean(0), dim=-1)[1:-1]
    (words,) = reader._read([ids])
    assert words.ids.tolist() == list(ids[1:-1])
    cosines = (torch.from_numpy(words.vectors.astype(np.float32)) * expected).sum(dim=-1)
    assert cosines.min() > 0.99  # in bf16


def test_a_skills_words_do_not_depend_on_what_is_read_beside_it(folder: Path) -> None:
    together = LateInteractionReranker(folder)._reader.figures(TASK, DOCUMENTS)
    apart = LateInteractionReranker(folder)
    for document, found in zip(DOCUMENTS, together, strict=True):
        (alone,) = apart._reader.figures(TASK, [document])
        np.testing.assert_allclose(found[:2], alone[:2], atol=0.02)
    assert apart.score(TASK, [], []) == []


def test_the_shipped_reranker_is_whole_and_described() -> None:
    folder = MODELS / OWN_RERANKER
    card = Card.read(folder)
    assert (card.model, card.encoder) == (OWN_RERANKER, DEFAULT_ENCODER)
    for file, expected in (
        (folder / HEAD_FILE, card.head),
        (MODELS / card.encoder / ONNX_FILE, card.revision),
    ):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == expected
    described = (folder / "README.md").read_text()
    assert f"# {folder.name}" in described and "Apache-2.0" in described


def test_the_shipped_reranker_puts_the_skill_that_serves_first() -> None:
    alike = [Standing(fused=0.5, dense=0.5, lexical=10.0)] * len(DOCUMENTS)
    *merging, weather = load_reranker(OWN_RERANKER).score(TASK, DOCUMENTS, alike)
    assert min(merging) > weather


def test_a_score_weighs_the_list_and_what_the_first_stage_found(folder: Path) -> None:
    reranker = load_reranker(str(folder))
    assert reranker.name == "mine" and reranker.listwise
    whole = reranker.score(TASK, DOCUMENTS, STANDINGS)
    assert len(set(whole)) == 4
    assert reranker.score(TASK, DOCUMENTS[:2], STANDINGS[:2]) != whole[:2]
    assert reranker.score(TASK, DOCUMENTS, STANDINGS[::-1]) != whole


def counted() -> tuple[float, float]:
    return RERANK_PAIRS._value.get(), RERANK_TOKENS._value.get()


def test_what_was_read_of_a_skill_is_not_read_again(folder: Path, tokenizer: TextTokenizer) -> None:
    exported = load_reranker(str(folder))
    before = counted()
    first = exported.score(TASK, DOCUMENTS, STANDINGS)
    pairs, tokens = np.subtract(counted(), before)
    asked = len(tokenizer.task(TASK))
    assert (pairs, tokens) == (4, asked + sum(exported.cost(TASK, DOCUMENTS)))
    assert exported.score(TASK, DOCUMENTS, STANDINGS) == first
    assert np.subtract(counted(), before).tolist() == [4, tokens]
    exported.score("merge the files", DOCUMENTS, STANDINGS)
    assert np.subtract(counted(), before)[1] < tokens + 20


def test_no_more_is_kept_than_the_bytes_allow(
    folder: Path, reader: WordReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = 100 * (384 * 2 + 4)
    monkeypatch.setattr(late_interaction, "KEPT_BYTES", allowed)
    small = LateInteractionReranker(folder)._reader
    for task in (TASK, "merge the files", TASK):
        np.testing.assert_allclose(
            small.figures(task, DOCUMENTS), reader.figures(task, DOCUMENTS), atol=0.02
        )
    assert 0 < small._kept.currsize <= allowed


@pytest.fixture
def copies(folder: Path, tmp_path: Path) -> dict[str, Path]:
    """By file, the folder that holds it: a reranker of its own, over an encoder of its own."""
    encoder = shutil.copytree(ENCODER, tmp_path / "encoder")
    copy = shutil.copytree(folder, tmp_path / "copy")
    replace(Card.read(copy), encoder=str(encoder)).write(copy)
    of_encoder = dict.fromkeys((ENCODER_CARD, ONNX_FILE, TOKENIZER_FILE), encoder)
    return {**of_encoder, CARD_FILE: copy, HEAD_FILE: copy}


@pytest.mark.parametrize("missing", [CARD_FILE, HEAD_FILE, ENCODER_CARD, ONNX_FILE, TOKENIZER_FILE])
def test_a_missing_file_is_named(copies: dict[str, Path], missing: str) -> None:
    (copies[missing] / missing).unlink()
    with pytest.raises(ModelMissingError, match=missing):
        LateInteractionReranker(copies[CARD_FILE])


@pytest.mark.parametrize(
    ("torn", "said"),
    [
        (HEAD_FILE, "torn"),
        (ONNX_FILE, "torn: Model can't be parsed"),
        (ENCODER_CARD, "does not describe an encoder"),
        (CARD_FILE, "does not describe a reranker"),
    ],
)
def test_a_torn_file_is_refused(copies: dict[str, Path], torn: str, said: str) -> None:
    file = copies[torn] / torn
    file.write_bytes(file.read_bytes()[: min(5_000, file.stat().st_size // 2)])
    with pytest.raises(ModelMissingError, match=said):
        LateInteractionReranker(copies[CARD_FILE])


def test_a_head_over_another_encoder_is_refused(copies: dict[str, Path]) -> None:
    card = copies[ENCODER_CARD] / ENCODER_CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"revision": "f" * 64}))
    with pytest.raises(ModelMissingError, match=r"ffff.*train the reranker again"):
        LateInteractionReranker(copies[CARD_FILE])


def test_a_graph_without_token_states_is_refused(
    copies: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.openvino_model.LAYER_NORM", "no such tensor")
    with pytest.raises(ModelMissingError, match="tokens cannot be read"):
        TokenStates(copies[ONNX_FILE])


def test_a_head_of_other_columns_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    np.savez(copy / HEAD_FILE, rarity=np.zeros(3))
    with pytest.raises(ModelMissingError, match=HEAD_FILE):
        LateInteractionReranker(copy)
    head = Head.read(folder)
    replace(head, mean=head.mean[1:]).write(copy)
    with pytest.raises(ModelMissingError, match=f"{COLUMNS - 1} columns"):
        LateInteractionReranker(copy)


def test_a_model_for_other_texts_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = json.loads((copy / CARD_FILE).read_text()) | {"pair_format": "r1"}
    (copy / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ModelMissingError, match="r1"):
        LateInteractionReranker(copy)
