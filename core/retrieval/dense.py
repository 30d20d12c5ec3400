"""The dense index: an exact fp16 inner-product scan over passages, answered in skills."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from core.errors import SettingsError
from core.retrieval.rows import Positions
from core.types import IndexRow, Vector, Vectors

Bitmap = NDArray[np.uint8]
"""One bit per passage, the lowest bit of a byte first."""

_GPU_LARGEST_K = 2_048  # FAISS's own limit


def passage_vectors(rows: Sequence[IndexRow], dimension: int) -> Vectors:
    """Every passage of every row, in order, shape (passages, dimension)."""
    vectors = [passage.vector for row in rows for passage in row.passages]
    return np.array(vectors, dtype=np.float32).reshape(len(vectors), dimension)


class PassageIndex:
    """Passages of a row table: row i owns `starts[i]` up to `starts[i + 1]`. Never mutated."""

    def __init__(self, index: Any, starts: NDArray[np.int64], *, gpu: bool = False) -> None:
        self._index = index
        self._starts = starts
        self._gpu = _GpuCopy(index) if gpu else None

    @classmethod
    def empty(cls, dimension: int) -> PassageIndex:
        """An index of no rows."""
        return cls(new_faiss_index(dimension), np.zeros(1, dtype=np.int64))

    @classmethod
    def open(cls, file: Path, starts: NDArray[np.int64], *, gpu: bool = False) -> PassageIndex:
        """Memory-map `file`. Raises RuntimeError where FAISS cannot read it."""
        return cls(faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC), starts, gpu=gpu)

    def extended(self, vectors: Vectors, starts: NDArray[np.int64]) -> PassageIndex:
        """A copy with further passages; `starts` are those of all its rows."""
        index = faiss.clone_index(self._index)
        index.add(vectors)
        return PassageIndex(index, starts)

    def search(
        self, vector: Vector, visible: Bitmap | None, k: int, *, threads: int
    ) -> list[tuple[int, int, float]]:
        """The k best rows as (position, ordinal of the best passage, similarity), best first.

        A row counts by its best passage, so its other passages never help it. Exact: the search
        widens until k rows or no more passages are found. `visible` is None where every row is.
        """
        total = int(self._index.ntotal)
        limit = min(2 * k, total)
        while limit:
            scores, passages, exhausted = self._top(vector, visible, limit, threads)
            positions = np.searchsorted(self._starts, passages, side="right") - 1
            _, first = np.unique(positions, return_index=True)
            if len(first) >= k or exhausted or limit == total:
                best = np.sort(first)[:k]
                ordinals = passages[best] - self._starts[positions[best]]
                return list(
                    zip(
                        positions[best].tolist(),
                        ordinals.tolist(),
                        scores[best].tolist(),
                        strict=True,
                    )
                )
            limit = min(4 * limit, total)
        return []

    def _top(
        self, vector: Vector, visible: Bitmap | None, limit: int, threads: int
    ) -> tuple[NDArray[np.float32], Positions, bool]:
        """Scores and passages, best first, and whether there are no more."""
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        if self._gpu is not None and limit <= _GPU_LARGEST_K:
            return self._gpu.top(query, visible, limit)
        # OpenMP keeps this number per calling thread, so each search sets it.
        faiss.omp_set_num_threads(threads)
        parameters = None
        if visible is not None:
            selector = faiss.IDSelectorBitmap(len(visible), faiss.swig_ptr(visible))
            parameters = faiss.SearchParameters()
            parameters.sel = selector
        scores, passages = self._index.search(query, limit, params=parameters)
        found = passages[0] >= 0
        return scores[0][found], passages[0][found], not found.all()


class _GpuCopy:
    """An index copied to the first GPU as fp16; knows no selectors, so hidden hits are dropped."""

    def __init__(self, index: Any) -> None:
        if not hasattr(faiss, "StandardGpuResources"):
            raise SettingsError(
                "This FAISS has no GPU support: pip install 'loadstar[gpu]', or turn the GPU off."
            )
        self._resources = faiss.StandardGpuResources()
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        self._index = faiss.index_cpu_to_gpu(self._resources, 0, index, options)
        self._lock = threading.Lock()  # a GPU index serves one caller at a time

    def top(
        self, query: Vectors, visible: Bitmap | None, limit: int
    ) -> tuple[NDArray[np.float32], Positions, bool]:
        with self._lock:
            scores, passages = self._index.search(query, limit)
        kept = passages[0] >= 0
        exhausted = not kept.all()
        if visible is not None:
            bits = visible[passages[0] >> 3] >> (passages[0] & 7) & 1
            kept &= bits.astype(np.bool_)
        return scores[0][kept], passages[0][kept], exhausted


def new_faiss_index(dimension: int) -> Any:
    """An empty exact index of fp16 codes under inner product."""
    return faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
