"""What a reranker reads of a task and a skill, formed in one pure place.

Routing and training both call this module, so that they can never drift apart; whatever changes
the text or its tokens must change PAIR_FORMAT too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from core.errors import ModelMissingError
from core.retrieval.lexical import analyse
from core.text import prose, spoken_name

PAIR_FORMAT = "r3"

PASSAGE_CHARS = 500  # about 100 tokens of English
BODY_CHARS = 8_000  # of prose; the analyser takes about 0.1 ms per 1,000 characters
MARKDOWN_CHARS = 16_000  # from which that prose is taken
DESCRIPTION_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a reranker may read of a skill; never its id, catalogue or popularity."""

    name: str
    description: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The most tokens of each part, markers not counted."""

    task: int = 224
    routing: int = 80  # name and description
    document: int = 128  # those and the passage


def document_of(name: str, description: str, body: str) -> Document:
    """What is read of a skill, cut to what can matter."""
    return Document(name=name, description=description, body=body[:MARKDOWN_CHARS])


def routing_line(document: Document) -> str:
    """Name and description on one line."""
    name = spoken_name(document.name)
    return f"{name}. {' '.join(document.description.split())[:DESCRIPTION_CHARS]}"


def pair_text(task: str, document: Document) -> tuple[str, str]:
    """What is read of a document for a task: its routing line and the passage that matched."""
    return routing_line(document), matched_passage(_words(task), document.body)


@lru_cache(maxsize=64)
def _words(task: str) -> frozenset[str]:
    return frozenset(analyse(task))


def matched_passage(words: frozenset[str], body: str) -> str:
    """The piece of a body that holds most of a task's analysed words; of equals the first."""
    pieces = _pieces(body)
    return pieces[holds_most(words, [held for _, held in pieces])][0] if pieces else ""


def holds_most(words: frozenset[str], pieces: Sequence[frozenset[str]]) -> int:
    """The place of the piece that holds most of the words; of equals the first.

    A word weighs its inverse document frequency among the pieces: what all of them say does not
    choose between them.
    """
    counts = Counter(word for held in pieces for word in held & words)
    rarity = {
        word: math.log(1 + (len(pieces) - count + 0.5) / (count + 0.5))
        for word, count in counts.items()
    }
    return max(range(len(pieces)), key=lambda n: (sum(rarity[w] for w in pieces[n] & words), -n))


@lru_cache(maxsize=2_048)  # some 30 MB; the same skills come back for similar tasks
def _pieces(body: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The body's prose in pieces of PASSAGE_CHARS, each with its analysed words."""
    text, pieces = prose(body[:MARKDOWN_CHARS])[:BODY_CHARS], []
    while text:
        end = text.rfind(" ", 0, PASSAGE_CHARS + 1) if len(text) > PASSAGE_CHARS else len(text)
        end = end if end > 0 else PASSAGE_CHARS
        pieces.append(text[:end])
        text = text[end:].strip()
    return tuple((piece, frozenset(analyse(piece))) for piece in pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTokens:
    """[CLS] name and description [SEP] passage [SEP], and how many words the first two are."""

    ids: tuple[int, ...]
    name: int
    line: int  # the name's and the description's

    def __len__(self) -> int:
        return len(self.ids)


class TextTokenizer:
    """Tasks and documents to the tokens that our reranker takes, each cut to its window."""

    def __init__(self, file: Path, windows: Windows) -> None:
        """`file` is a tokenizer.json of the BERT kind; raises ModelMissingError for another."""
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # a "[SEP]" that somebody wrote is a word
        self._windows = windows
        self._start, self._end = (self._marker(name) for name in ("[CLS]", "[SEP]"))
        self.size: int = self._tokenizer.get_vocab_size()  # how many different tokens there are

    def task(self, text: str) -> tuple[int, ...]:
        """[CLS] task [SEP]."""
        (asked,) = self._tokens(text)
        return (self._start, *asked[: self._windows.task], self._end)

    def line(self, document: Document) -> list[int]:
        """The words of its name and description alone."""
        (said,) = self._tokens(routing_line(document))
        return said[: self._windows.routing]

    def document(self, task: str, document: Document) -> DocumentTokens:
        """What is read of a document for a task; the passage takes the tokens left."""
        line, passage = pair_text(task, document)
        name, said, read = self._tokens(spoken_name(document.name), line, passage)
        said = said[: self._windows.routing]
        read = read[: self._windows.document - len(said)]
        return DocumentTokens(
            ids=(self._start, *said, self._end, *read, self._end),
            name=min(len(name), len(said)),
            line=len(said),
        )

    def words(self, ids: Sequence[int]) -> list[int]:
        """The places of the tokens that are no markers."""
        return [place for place, token in enumerate(ids) if token not in (self._start, self._end)]

    def _tokens(self, *texts: str) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def _marker(self, name: str) -> int:
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise ModelMissingError(f"The tokenizer has no {name}: it is not of the BERT kind.")
        return found
