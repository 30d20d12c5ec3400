"""Our own second stage: a task's words meet a skill's, and a small head weighs what they find.

A task and a skill are read apart, each once, by an encoder as it is. So a task is read once for all
its candidates, and what was read of a skill serves every later task that is shown the same passage.
The head sees the whole list, and what the first stage found (`reranker.interaction`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from cachetools import LRUCache

from core.embedding import CARD_FILE as ENCODER_CARD
from core.embedding import described_space, model_folder
from core.errors import ModelMissingError
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE, compiled, padded, require_files
from core.telemetry import RERANK_PAIRS, RERANK_TOKENS
from core.types import Space
from reranker.batcher import token_batches
from reranker.interaction import (
    COLUMNS,
    Floats,
    SkillWords,
    Standing,
    Words,
    figures,
    listed,
    standardised,
)
from reranker.pairs import PAIR_FORMAT, Document, DocumentTokens, TextTokenizer, Windows

CARD_FILE = "reranker.json"
HEAD_FILE = "head.npz"

# Padded tokens of a batch. On 2 busy cores, two single-thread streams with batches of 4 texts were
# 1.4 times as fast as one batch of 16 on both (docs/decisions/0013).
BATCH_TOKENS = 512

KEPT_BYTES = 128 * 2**20
"""Of words' vectors that are kept: some 1,300 skills of 128 tokens."""

KEPT_PAIRS = 1_024
"""Whose figures are kept: while a list grows chunk by chunk, each pair is worked out once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One hidden layer over the columns of a list (`reranker.interaction.listed`)."""

    centre: Floats  # shape (width,): the mean token, which would make every two words alike
    rarity: Floats  # by token id: the logarithm of its inverse document frequency
    mean: Floats  # of each column, shape (columns,)
    spread: Floats
    inner: Floats  # shape (columns, hidden)
    inner_bias: Floats
    outer: Floats  # shape (hidden,)
    outer_bias: Floats  # shape ()

    def logits(self, columns: Floats) -> Floats:
        """Shape (skills,) of (skills, columns); above 0 a skill is rather right than not."""
        hidden = standardised(columns, self.mean, self.spread) @ self.inner + self.inner_bias
        found: Floats = np.maximum(hidden, 0.0) @ self.outer + self.outer_bias
        return found

    def write(self, folder: Path) -> None:
        """To the folder's HEAD_FILE."""
        np.savez(folder / HEAD_FILE, **asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Head:
        """Raises ModelMissingError where the file is torn, or weighs other columns."""
        try:
            with np.load(folder / HEAD_FILE, allow_pickle=False) as held:
                head = cls(**held)
        except (ValueError, TypeError, OSError, EOFError, BadZipFile) as error:
            raise ModelMissingError(
                f"{folder / HEAD_FILE} cannot be loaded and may be torn: {error}. Restore the file."
            ) from error
        if len(head.mean) != COLUMNS:
            raise ModelMissingError(
                f"{folder / HEAD_FILE} weighs {len(head.mean)} columns; this program forms "
                f"{COLUMNS}. Train it again, or name another."
            )
        return head


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `reranker.json` says of a reranker."""

    model: str  # what `scored_by` says
    encoder: str  # whose words it weighs: a name under `models/`, or a folder
    revision: str  # sha256 of the encoder's model.onnx
    head: str  # and of head.npz
    windows: Windows

    def write(self, folder: Path) -> None:
        """To the folder's CARD_FILE."""
        described = {**asdict(self), "pair_format": PAIR_FORMAT}
        (folder / CARD_FILE).write_text(json.dumps(described, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Raises ModelMissingError where it is broken, or for other texts than are formed here."""
        try:
            found = json.loads((folder / CARD_FILE).read_text())
            formed = found.pop("pair_format")
            card = cls(**found | {"windows": Windows(**found["windows"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelMissingError(
                f"{folder / CARD_FILE} does not describe a reranker ({error}). Restore the file."
            ) from error
        if formed != PAIR_FORMAT:
            raise ModelMissingError(
                f"The reranker {folder.name!r} reads texts of the format {formed}; this program "
                f"forms {PAIR_FORMAT}. Train it again, or name another."
            )
        return card


def require_encoder(card: Card) -> Path:
    """The folder of the encoder that a card names.

    Raises ModelMissingError where it lacks a file, or is another than the head was trained on.
    """
    folder = model_folder(card.encoder)
    files = (ENCODER_CARD, ONNX_FILE, TOKENIZER_FILE)
    require_files(folder, *files, kind="encoder", setting="LOADSTAR_RERANKER")
    found = described_space(folder).revision
    if found != card.revision:
        raise ModelMissingError(
            f"The reranker {card.model!r} weighs the words of {card.encoder!r} at revision "
            f"{card.revision[:12]}; {folder} holds {found[:12]}. Restore that encoder, or train "
            "the reranker again."
        )
    return folder


class TokenStates:
    """An exported encoder on OpenVINO, asked for every token's last hidden state."""

    def __init__(self, encoder: Path, *, threads: int = 2) -> None:
        from openvino import AsyncInferQueue

        self._streams = threads
        model = compiled(encoder, threads=threads, streams=threads, tokens=True)
        self._queue = AsyncInferQueue(model, threads)

    def read(self, texts: Sequence[tuple[int, ...]]) -> list[Floats]:
        """Shape (tokens, width) of each text. Not thread-safe."""
        lengths = [len(ids) for ids in texts]
        RERANK_TOKENS.inc(sum(lengths))
        found: dict[int, Floats] = {}

        def keep(request: Any, batch: list[int]) -> None:
            states = request.get_output_tensor(0).data
            for row, number in enumerate(batch):
                found[number] = states[row, : lengths[number]].copy()

        self._queue.set_callback(keep)
        budget = min(BATCH_TOKENS, -(-sum(lengths) // self._streams))
        try:
            for batch in token_batches(lengths, budget):
                self._queue.start_async(padded([texts[number] for number in batch]), batch)
        finally:  # what still runs must not end under the next call's callback
            self._queue.wait_all()
        states = [found[number] for number in range(len(texts))]
        found.clear()  # the queue keeps its last callback, and that would keep these
        return states


class WordReader:
    """The words of tasks and documents, each text read once while kept."""

    def __init__(
        self, states: TokenStates, tokenizer: TextTokenizer, centre: Floats, rarity: Floats
    ) -> None:
        """`centre` is the mean token, `rarity` is by token id."""
        self.tokenizer = tokenizer
        self._states = states
        self._centre = centre
        self._rarity = rarity
        # Asked of every document, what it costs and then chunk by chunk; some 10 MB.
        self.document = lru_cache(maxsize=2_048)(self.tokenizer.document)
        self._task = lru_cache(maxsize=64)(self.tokenizer.task)  # of every chunk
        self._kept: LRUCache[tuple[int, ...], Words] = LRUCache(KEPT_BYTES, _size)
        self._found: LRUCache[tuple[str, DocumentTokens], list[float]] = LRUCache(KEPT_PAIRS)
        self._one_at_a_time = threading.Lock()

    def figures(self, task: str, documents: Sequence[Document]) -> list[list[float]]:
        """What the task's words find in each document, and its words in the task."""
        tokens = [self.document(task, document) for document in documents]
        with self._one_at_a_time:
            known = {
                each: self._found[task, each] for each in tokens if (task, each) in self._found
            }
            new = [each for each in dict.fromkeys(tokens) if each not in known]
            RERANK_PAIRS.inc(len(new))
            asked, *said = self._read([self._task(task), *(each.ids for each in new)])
            for each, words in zip(new, said, strict=True):
                skill = SkillWords(words=words, name=each.name, line=each.line)
                known[each] = self._found[task, each] = figures(asked, skill, self._rarity)
        return [known[each] for each in tokens]

    def _read(self, texts: Sequence[tuple[int, ...]]) -> list[Words]:
        """The words of each text, kept ones or read anew."""
        known = {ids: self._kept[ids] for ids in set(texts) if ids in self._kept}
        new = [ids for ids in dict.fromkeys(texts) if ids not in known]
        for ids, states in zip(new, self._states.read(new), strict=True):
            known[ids] = words = self._words(ids, states)
            if _size(words) <= KEPT_BYTES:
                self._kept[ids] = words
        return [known[ids] for ids in texts]

    def _words(self, ids: tuple[int, ...], states: Floats) -> Words:
        places = self.tokenizer.words(ids)
        vectors = states[places] - self._centre
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Words(
            vectors=(vectors / np.maximum(lengths, 1e-6)).astype(np.float16),
            ids=np.array(ids, dtype=np.int32)[places],
        )


def _size(words: Words) -> int:
    return words.vectors.nbytes + words.ids.nbytes


class LateInteractionReranker:
    """A folder's `head.npz` and `reranker.json`, over the words of the encoder that it names."""

    listwise = True

    def __init__(self, folder: Path, *, threads: int = 2, space: Space | None = None) -> None:
        """`space` is that of the first stage, where it matters."""
        require_files(folder, CARD_FILE, HEAD_FILE, kind="reranker", setting="LOADSTAR_RERANKER")
        card = Card.read(folder)
        if space and space.revision != card.revision:
            raise ModelMissingError(
                f"The reranker {card.model!r} is trained on what {card.encoder!r} finds, not on "
                f"{space.model!r}. Train one for it, or set LOADSTAR_RERANKER=overlap."
            )
        encoder = require_encoder(card)
        self.name = card.model
        self._head = Head.read(folder)
        self._reader = WordReader(
            TokenStates(encoder, threads=threads),
            TextTokenizer(encoder / TOKENIZER_FILE, card.windows),
            self._head.centre,
            self._head.rarity,
        )

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        """The tokens of each document, whether it is still known or not; the task's are free."""
        return [len(self._reader.document(task, document)) for document in documents]

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing]
    ) -> list[float]:
        """The logit of each document among these, unbounded."""
        if not documents:
            return []
        pairs = self._reader.figures(task, documents)
        logits: list[float] = self._head.logits(listed(pairs, standings)).tolist()
        return logits
