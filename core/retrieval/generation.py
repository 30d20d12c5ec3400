"""The generation: one published, read-only, checksummed build of the index in a folder.

manifest.json            what the folder is and the sha256 of every other file
rows.npz, strings.json   the row table
dense.faiss              passages as fp16 codes, memory-mapped
lexical/                 a tantivy index
background.npy           per catalogue, the best similarity to each background query
background_queries.npy   those queries, so that a delta measures with the same ones
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faiss
import numpy as np

from core.errors import GenerationDamagedError, SpaceMismatchError
from core.retrieval import background as background_maxima
from core.retrieval.dense import PassageIndex, new_faiss_index, passage_vectors
from core.retrieval.lexical import WordIndex, WordWriter
from core.retrieval.rows import RowTable
from core.retrieval.segment import Segment
from core.types import IndexRow, Space, Vectors

FORMAT = 2
MANIFEST_FILE = "manifest.json"
DENSE_FILE = "dense.faiss"
LEXICAL_FOLDER = "lexical"
BACKGROUND_FILE = "background.npy"
QUERIES_FILE = "background_queries.npy"

BUILDING_SUFFIX = ".building"
"""What an unfinished build's folder ends with; a killed build leaves one behind."""

_REMEDY = "Build it again with `loadstar index --rebuild`."
_HASHING_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """A file as it was published."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a generation's folder holds."""

    id: str
    space: Space
    seq: int  # of the feed: every change up to it is in the generation
    rows: int
    passages: int
    files: dict[str, FileSum]  # by path within the folder

    def to_json(self) -> str:
        """The manifest's one spelling; its own sha256 is in it, so that no byte can change."""
        content = {"format": FORMAT, **asdict(self)}
        content["sha256"] = hashlib.sha256(_canonical(content).encode()).hexdigest()
        return _canonical(content)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of the generation in `folder`. Raises GenerationDamagedError."""
        file = folder / MANIFEST_FILE
        try:
            text = file.read_text(encoding="ascii")
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise GenerationDamagedError(
                    f"{file} has format {content['format']}; this program reads {FORMAT}. {_REMEDY}"
                )
            manifest = cls(
                id=content["id"],
                space=Space(**content["space"]),
                seq=content["seq"],
                rows=content["rows"],
                passages=content["passages"],
                files={name: FileSum(**found) for name, found in content["files"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GenerationDamagedError(f"{file} cannot be read: {error}. {_REMEDY}") from error
        if manifest.to_json() != text:
            raise GenerationDamagedError(f"{file} was altered. {_REMEDY}")
        return manifest


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class Generation:
    """A loaded generation; shared by all threads and, through the page cache, all processes."""

    id: str
    space: Space
    seq: int
    segment: Segment
    background_queries: Vectors  # shape (queries, dimension)

    @classmethod
    def empty(cls, space: Space, background_queries: Vectors) -> Generation:
        """The generation before the first build: no rows, seq 0, no folder."""
        return cls(
            id="empty",
            space=space,
            seq=0,
            segment=empty_segment(space, len(background_queries)),
            background_queries=background_queries,
        )

    @classmethod
    def load(cls, folder: Path, space: Space, *, gpu: bool = False) -> Generation:
        """Verify every file and map the index; `gpu` copies the vectors to the first GPU.

        Blocks for as long as hashing the files takes (250 MB: 0.2 s). Raises
        GenerationDamagedError for a file that is missing, torn or altered, SpaceMismatchError
        for vectors that queries in `space` cannot be compared with, and SettingsError for a
        GPU that FAISS was not built for.
        """
        manifest = Manifest.read(folder)
        if manifest.space != space:
            raise SpaceMismatchError(
                f"The generation {manifest.id} in {folder} holds vectors of the space "
                f"{manifest.space.id}, but the encoder in use gives {space.id}. Name that encoder, "
                "or build a generation for this one with `loadstar index --rebuild`."
            )
        _verify(folder, manifest)
        try:
            rows = RowTable.load(folder)
            segment = Segment(
                rows=rows,
                passages=PassageIndex.open(folder / DENSE_FILE, rows.passage_starts, gpu=gpu),
                words=WordIndex.open(folder / LEXICAL_FOLDER),
                background=np.load(folder / BACKGROUND_FILE),
            )
            queries = np.load(folder / QUERIES_FILE)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise GenerationDamagedError(
                f"{folder} is intact, but this version of FAISS or tantivy cannot read it: "
                f"{error}. {_REMEDY}"
            ) from error
        return cls(
            id=manifest.id,
            space=manifest.space,
            seq=manifest.seq,
            segment=segment,
            background_queries=queries,
        )


def empty_segment(space: Space, background_queries: int) -> Segment:
    """A segment without rows."""
    return Segment(
        rows=RowTable.of([]),
        passages=PassageIndex.empty(space.dimension),
        words=WordIndex.empty(),
        background=background_maxima.table({}, (), background_queries),
    )


class GenerationBuilder:
    """Writes a generation beside its folder and renames it into place when it is whole.

    Texts are written as they come; vectors wait in memory as fp16 (82,803 skills of three
    passages: 190 MB). For one thread at a time. Leaving the `with` block without `publish`
    removes what was written.
    """

    def __init__(
        self, folder: Path, *, id: str, space: Space, seq: int, background_queries: Vectors
    ) -> None:
        self._folder = folder
        self._id = id
        self._space = space
        self._seq = seq
        self._queries = background_queries
        self._closed = False
        self._building = folder.with_name(folder.name + BUILDING_SUFFIX)

    def __enter__(self) -> Self:
        shutil.rmtree(self._building, ignore_errors=True)
        (self._building / LEXICAL_FOLDER).mkdir(parents=True)
        self._words = WordWriter(self._building / LEXICAL_FOLDER)
        self._passages = new_faiss_index(self._space.dimension)
        self._tables = [RowTable.of([])]
        self._maxima: background_maxima.Maxima = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._closed:
            self._words.abandon()
        shutil.rmtree(self._building, ignore_errors=True)

    def add(self, rows: Sequence[IndexRow]) -> None:
        """Add rows that were not added before."""
        vectors = passage_vectors(rows, self._space.dimension)
        self._passages.add(vectors)
        self._words.add(rows)
        self._tables.append(RowTable.of(rows))
        found = background_maxima.maxima(rows, vectors, self._queries)
        self._maxima = background_maxima.merged(self._maxima, found)

    def publish(self) -> Manifest:
        """Write what is left, make it durable and rename it into place.

        Raises OSError where the folder exists.
        """
        self._words.close()
        self._closed = True
        rows = RowTable.concat(self._tables)
        rows.save(self._building)
        faiss.write_index(self._passages, str(self._building / DENSE_FILE))
        best = background_maxima.table(self._maxima, rows.catalogues, len(self._queries))
        np.save(self._building / BACKGROUND_FILE, best)
        np.save(self._building / QUERIES_FILE, self._queries)
        manifest = Manifest(
            id=self._id,
            space=self._space,
            seq=self._seq,
            rows=len(rows),
            passages=int(self._passages.ntotal),
            files=_sums(self._building, _files(self._building)),
        )
        (self._building / MANIFEST_FILE).write_text(manifest.to_json(), encoding="ascii")
        _sync_tree(self._building)
        self._building.rename(self._folder)
        _sync(self._folder.parent)
        return manifest


async def build(
    folder: Path,
    *,
    id: str,
    space: Space,
    seq: int,
    batches: AsyncIterable[Sequence[IndexRow]],
    background_queries: Vectors,
) -> Manifest:
    """Build the generation of these rows in `folder`, which must not exist, off the event loop.

    Nothing is at `folder` until all of it is. Raises OSError where it exists already.
    """
    with GenerationBuilder(
        folder, id=id, space=space, seq=seq, background_queries=background_queries
    ) as builder:
        async for rows in batches:
            await asyncio.to_thread(builder.add, rows)
        return await asyncio.to_thread(builder.publish)


def _files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def _sums(folder: Path, names: Sequence[str]) -> dict[str, FileSum]:
    # hashlib lets go of the GIL, so threads hash in parallel.
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: _sum(folder / name), names), strict=True))


def _sum(file: Path) -> FileSum:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileSum(bytes=stream.tell(), sha256=digest.hexdigest())


def _verify(folder: Path, manifest: Manifest) -> None:
    for name, published in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise GenerationDamagedError(f"{file} is missing. {_REMEDY}")
        if file.stat().st_size != published.bytes:
            raise GenerationDamagedError(
                f"{file} has {file.stat().st_size} bytes instead of {published.bytes}. {_REMEDY}"
            )
    for name, found in _sums(folder, list(manifest.files)).items():
        if found != manifest.files[name]:
            raise GenerationDamagedError(f"{folder / name} was altered. {_REMEDY}")


def _sync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
