"""The Embedder protocol and its runtimes: OpenVINO, sentence-transformers, hashing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from core.errors import ModelMissingError
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE, compiled, padded, require_files
from core.text import PASSAGE_FORMAT
from core.types import Space, Vectors

MODELS = Path(__file__).resolve().parent.parent / "models"
DEFAULT_ENCODER = "loadstar-encoder"

CARD_FILE = "encoder.json"

# Longest first, 16 texts at a time: 14,900 tokens/s on 2 cores against 12,700 one by one.
BATCH_TEXTS = 16


class Embedder(Protocol):
    """Text to vectors of one space; the same call serves passages and queries."""

    @property
    def space(self) -> Space:
        """What the vectors may be compared with."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), space.dimension), each row L2-normalised. Blocks; thread-safe."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has when nothing is cut off."""
        ...


def load_embedder(spec: str, *, threads: int = 2, streams: int = 1) -> Embedder:
    """The embedder that `spec` names.

    `spec` is `hashing`, a folder with an `encoder.json` (or the name of one under `models/`),
    or `st:NAME` for any sentence-transformers model, a local folder or a hub name.
    `threads` and `streams` bound OpenVINO: one stream for latency, one per core for bulk.

    Raises ModelMissingError, naming the file or the extra that is missing.
    """
    if spec == "hashing":
        return HashingEmbedder()
    if spec.startswith("st:"):
        return SentenceTransformerEmbedder(spec.removeprefix("st:"))
    return OpenVINOEmbedder(model_folder(spec), threads=threads, streams=streams)


def model_folder(spec: str) -> Path:
    """Where an exported model lies: a folder, or the name of one under `models/`."""
    return Path(spec) if Path(spec).is_dir() else MODELS / spec


class OpenVINOEmbedder:
    """An exported encoder (`model.onnx` with pooling inside, `tokenizer.json`, `encoder.json`)."""

    def __init__(self, folder: Path, *, threads: int = 2, streams: int = 1) -> None:
        files = (CARD_FILE, ONNX_FILE, TOKENIZER_FILE)
        require_files(folder, *files, kind="encoder", setting="--encoder / LOADSTAR_ENCODER")
        self._space = described_space(folder)
        self._counter = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._tokenizer.enable_truncation(self._space.max_tokens)
        self._tokenizer.no_padding()
        self._model = compiled(folder, threads=threads, streams=streams)
        self._streams = streams

    @property
    def space(self) -> Space:
        """What the vectors may be compared with."""
        return self._space

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), L2-normalised; texts past `max_tokens` are cut."""
        from openvino import AsyncInferQueue

        encodings = self._tokenizer.encode_batch_fast(list(texts))
        vectors = np.empty((len(texts), self._space.dimension), dtype=np.float32)
        if not encodings:
            return vectors
        longest_first = sorted(range(len(texts)), key=lambda i: -len(encodings[i].ids))
        batches = [
            longest_first[start : start + BATCH_TEXTS]
            for start in range(0, len(longest_first), BATCH_TEXTS)
        ]
        if len(batches) == 1:
            request = self._model.create_infer_request()
            request.infer(padded([encodings[i].ids for i in longest_first]))
            vectors[longest_first] = request.get_output_tensor(0).data
            return vectors

        def keep(request: Any, batch: list[int]) -> None:
            vectors[batch] = request.get_output_tensor(0).data

        queue = AsyncInferQueue(self._model, self._streams)
        queue.set_callback(keep)
        for batch in batches:
            queue.start_async(padded([encodings[i].ids for i in batch]), batch)
        queue.wait_all()
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut, without the two marker tokens."""
        encodings = self._counter.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]


def described_space(folder: Path) -> Space:
    """What an exported encoder's card says. Raises ModelMissingError where it is broken."""
    try:
        card = json.loads((folder / CARD_FILE).read_text())
        return Space(
            model=card["model"],
            revision=card["revision"],
            pooling=card["pooling"],
            max_tokens=card["max_tokens"],
            precision="bf16",
            passage_format=PASSAGE_FORMAT,
            dimension=card["dimension"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelMissingError(
            f"{folder / CARD_FILE} does not describe an encoder ({error!r}). Restore the file."
        ) from error


class SentenceTransformerEmbedder:
    """Any sentence-transformers model, on GPU where torch finds one; needs the extra `models`."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ModelMissingError(
                f"The encoder 'st:{name}' needs the extra `models`: pip install 'loadstar[models]'."
            ) from error
        try:
            self._model = SentenceTransformer(name)
        except (OSError, ValueError) as error:
            raise ModelMissingError(
                f"sentence-transformers cannot load {name!r}: {str(error).splitlines()[0]}"
            ) from error
        self._space = Space(
            model=name,
            revision=_weights_revision(self._model),
            pooling="model",
            max_tokens=int(self._model.max_seq_length or 512),
            precision=str(next(self._model.parameters()).dtype).removeprefix("torch."),
            passage_format=PASSAGE_FORMAT,
            dimension=int(self._model.get_embedding_dimension()),
        )

    @property
    def space(self) -> Space:
        """What the vectors may be compared with."""
        return self._space

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), L2-normalised."""
        vectors = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self._space.dimension)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut."""
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False)
        return [len(ids) for ids in encoded["input_ids"]]


def _weights_revision(model: Any) -> str:
    """A digest of the weights: two folders with the same name must not share a space."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Words hashed to signed dimensions (Weinberger et al. 2009): no model, no synonyms.

    The test double, and a way to try Loadstar where no model file fits.
    """

    def __init__(self, dimension: int = 384) -> None:
        self._space = Space(
            model="hashing",
            revision="1",
            pooling="sum",
            max_tokens=1_000_000,
            precision="fp32",
            passage_format=PASSAGE_FORMAT,
            dimension=dimension,
        )

    @property
    def space(self) -> Space:
        """What the vectors may be compared with."""
        return self._space

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), L2-normalised; without words, one fixed vector."""
        vectors = np.zeros((len(texts), self._space.dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in _WORD.findall(text.casefold()):
                digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
                place = int.from_bytes(digest, "little")
                vector[(place >> 1) % self._space.dimension] += 1.0 if place & 1 else -1.0
            if not vector.any():
                vector[0] = 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(_WORD.findall(text)) for text in texts]
