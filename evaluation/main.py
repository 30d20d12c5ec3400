"""THE STORY of `loadstar eval`: rows, index, systems, scores, and where they come from."""

from __future__ import annotations

from pathlib import Path

from app.settings import AppSettings
from evaluation.datasets import METATOOL
from evaluation.prepare import (
    OnProgress,
    PoolName,
    Prepared,
    index_pool,
    labelled_material,
    own_material,
    read_verified,
)
from evaluation.provenance import provenance
from evaluation.result import Evaluation
from evaluation.run import OnStep, evaluate
from evaluation.split import committed
from evaluation.systems import open_bench
from evaluation.types import Split
from indexer.settings import IndexerSettings

OWN_ROWS = "the file's own"
OWN_POOL = "the data folder's own"


async def index_data(
    folder: Path,
    pool: PoolName,
    settings: IndexerSettings,
    *,
    on_step: OnStep,
    on_progress: OnProgress,
) -> Prepared:
    """Read the development folder and index its pool, as far as that is not done already.

    Raises LoadstarError with what to do where the folder or the data folder is not usable.
    """
    on_step(f"reading {folder}")
    prepared = read_verified(folder, pool, committed())
    on_step(f"indexing {len(prepared.places)} skills, but those that are indexed unchanged")
    await index_pool(prepared, settings, on_progress=on_progress)
    return prepared


async def evaluate_data(
    prepared: Prepared, split: Split, settings: AppSettings, *, command: str, on_step: OnStep
) -> Evaluation:
    """Report the rows of one split over the index in `settings.data_dir`.

    Raises LoadstarError with what to do where the index is not that of the pool.
    """
    async with open_bench(settings, apart=frozenset({METATOOL})) as bench:
        material = labelled_material(bench, prepared, split)
        source = provenance(
            bench,
            command=command,
            files=prepared.files,
            split=split.value,
            split_checksum=prepared.labelled.assignment.checksum(),
            pool=prepared.pool,
        )
        return await evaluate(bench, material, source, settings.data_dir, on_step=on_step)


async def evaluate_own(
    file: Path, settings: AppSettings, *, command: str, on_step: OnStep
) -> Evaluation:
    """Report an operator's own rows over what `settings.data_dir` or its database holds.

    Raises LoadstarError with what to do where the file or the index is not usable.
    """
    async with open_bench(settings) as bench:
        material = await own_material(bench, file)
        source = provenance(
            bench, command=command, files=[file], split=OWN_ROWS, split_checksum="", pool=OWN_POOL
        )
        return await evaluate(bench, material, source, settings.data_dir, on_step=on_step)
