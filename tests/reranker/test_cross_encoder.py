"""Rerankers of others: sentence-transformers cross-encoders and causal models by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import ModelMissingError
from reranker.learn.export_encoder import start_model
from reranker.load import load_reranker
from reranker.pairs import Document, pair_text
from reranker.skillrouter import PREFIX, SUFFIX, SkillRouterReranker, prompt

TASK = "join three scanned contracts into one PDF"
DOCUMENTS = [
    Document(name="pdf-merge", description="Merges PDF files.", body="Open every file. " * n)
    for n in (1, 30, 200)
] + [Document(name="weather", description="", body="")]


def tiny_bert(folder: Path) -> Path:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config: Any = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(start_model()).save_pretrained(folder)
    return folder


def test_any_sentence_transformers_cross_encoder_scores_by_its_logit(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name = str(tiny_bert(tmp_path))
    reranker = load_reranker(f"st:{name}")
    assert reranker.name == f"st:{name}"
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    classifier: Any = AutoModelForSequenceClassification.from_pretrained(name)
    expected = []
    for document in DOCUMENTS:
        line, passage = pair_text(TASK, document)
        encoded = tokenizer(TASK, f"{line}\n{passage}".strip(), return_tensors="pt")
        expected.append(classifier(**encoded).logits.item())
    assert reranker.score(TASK, DOCUMENTS, []) == pytest.approx(expected, abs=1e-4)
    assert len(reranker.cost(TASK, DOCUMENTS)) == len(DOCUMENTS)


def tiny_causal(folder: Path) -> Path:
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=30_522,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(start_model()).save_pretrained(folder)
    return folder


def yes_less_no(name: str, tokenizer: Any, texts: Sequence[str]) -> list[float]:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(name)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    found = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False, return_tensors="pt")
        logits = model(input_ids=ids).logits[0, -1]
        found.append(float(logits[yes] - logits[no]))
    return found


def test_a_causal_model_is_asked_in_skillrouters_words(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    name = str(tiny_causal(tmp_path))
    reranker = load_reranker(f"skillrouter:{name}")
    texts = [PREFIX + prompt(TASK, document) + SUFFIX for document in DOCUMENTS]
    assert "<Document>: pdf-merge | Merges PDF files. | Open every file." in texts[0]
    expected = yes_less_no(name, AutoTokenizer.from_pretrained(name), texts)
    assert reranker.score(TASK, DOCUMENTS, []) == pytest.approx(expected, abs=1e-3)
    assert max(reranker.cost(TASK, DOCUMENTS)) < 4_096


@pytest.mark.parametrize("kind", ["st:", "skillrouter:"])
def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ModelMissingError, match="gone"):
        load_reranker(f"{kind}{tmp_path / 'gone'}")


def test_a_tokenizer_without_yes_and_no_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    name = tiny_causal(tmp_path)
    words: Any = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    for file in name.glob("*token*"):
        file.unlink()
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(name)
    with pytest.raises(ModelMissingError, match="yes"):
        SkillRouterReranker(str(name))
