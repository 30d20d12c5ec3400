"""What a reranker reads: the parts of a text, and the passage that matched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from core.errors import ModelMissingError
from core.openvino_model import TOKENIZER_FILE
from core.retrieval.lexical import analyse
from reranker.learn.export_encoder import start_model
from reranker.pairs import (
    MARKDOWN_CHARS,
    Document,
    TextTokenizer,
    Windows,
    document_of,
    matched_passage,
    routing_line,
)

FILE = start_model() / TOKENIZER_FILE
FILLER = "The weather was mild and the harbour lay still. " * 12
BODY = f"# Start\n{FILLER}\n\n## Merging\nJoin the scanned contracts into one PDF.\n\n{FILLER}"


def read(ids: list[int]) -> list[str]:
    """The parts of a text, markers told apart."""
    text = Tokenizer.from_file(str(FILE)).decode(ids, skip_special_tokens=False)
    assert text.startswith("[CLS]") and text.endswith("[SEP]")
    return [part.strip() for part in text.removeprefix("[CLS]").split("[SEP]")][:-1]


def test_the_passage_is_the_piece_with_the_tasks_words() -> None:
    found = matched_passage(frozenset(analyse("merge scanned contracts")), BODY)
    assert "scanned contracts" in found and len(found) <= 500


def test_without_a_matching_word_it_is_the_first_piece() -> None:
    assert matched_passage(frozenset({"zebra"}), BODY).startswith("Start The weather")
    assert matched_passage(frozenset({"zebra"}), "") == ""


def test_what_every_piece_says_does_not_choose() -> None:
    words = frozenset(analyse("the harbour weather, contracts"))
    assert "contracts" in matched_passage(words, BODY)


def test_one_long_word_is_cut_and_loses_nothing_else() -> None:
    assert matched_passage(frozenset(), "x" * 1_200) == "x" * 500


def test_what_is_read_of_a_skill_is_routing_and_passage() -> None:
    tokenizer = TextTokenizer(FILE, Windows())
    document = Document(name="pdf-merge", description="Merges\n PDF files.", body=BODY)
    found = tokenizer.document("join scanned contracts", document)
    routing, passage = read(list(found.ids))
    assert routing == "pdf merge. merges pdf files." and "contracts" in passage
    assert routing_line(document) == "pdf merge. Merges PDF files."
    assert list(found.ids[1 : 1 + found.line]) == tokenizer.line(document)
    assert read([found.ids[0], *found.ids[1 : 1 + found.name], found.ids[-1]]) == ["pdf merge"]
    assert read(list(tokenizer.task("join pdf files"))) == ["join pdf files"]


def test_each_part_is_cut_to_its_window_and_the_passage_takes_what_is_left() -> None:
    tokenizer = TextTokenizer(FILE, Windows(task=2, routing=5, document=12))
    assert len(tokenizer.task("join pdf files")) == 1 + 2 + 1
    long = tokenizer.document("join", Document(name="pdf", description="merges " * 40, body=BODY))
    assert (len(long), long.name, long.line) == (1 + 5 + 1 + 7 + 1, 1, 5)
    short = tokenizer.document("join", Document(name="pdf", description="", body=BODY))
    assert (len(short), short.line) == (1 + 2 + 1 + 10 + 1, 2)
    assert tokenizer.words(short.ids) == [1, 2, *range(4, 14)]
    marked = tokenizer.document("join", Document(name="a [SEP] b", description="", body=BODY))
    assert len(tokenizer.words(marked.ids)) == 12 and marked.line == 5
    named = Document(name="pdf " * 9, description="", body="")
    assert tokenizer.document("join", named).name == 5


def test_a_body_is_read_up_to_a_bound() -> None:
    assert len(document_of("n", "d", "x" * 50_000).body) == MARKDOWN_CHARS


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    from tokenizers.models import WordLevel

    file = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(file))
    with pytest.raises(ModelMissingError, match=r"\[CLS\]"):
        TextTokenizer(file, Windows())
