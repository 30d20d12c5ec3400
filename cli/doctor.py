"""`loadstar doctor`: what is there, what is in force, and what is missing for what."""

from __future__ import annotations

import asyncio
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import typer

from app.main import load_second_stage
from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from core import feed, store
from core.db import open_database, read
from core.embedding import Embedder, load_embedder, model_folder
from core.errors import LoadstarError
from core.openvino_model import ONNX_FILE
from core.retrieval.generation import Generation
from core.settings import load_settings
from reranker.late_interaction import CARD_FILE, HEAD_FILE, Card
from reranker.policy import load_policy

EXAMPLE = "Example: loadstar doctor --json"

# Distribution, module, and what does not work without it.
PARTS = (
    ("openvino", "openvino", "the shipped encoder and reranker"),
    ("faiss-cpu", "faiss", "the dense arm"),
    ("tantivy", "tantivy", "the lexical arm"),
    ("aiosqlite", "aiosqlite", "SQLite"),
    ("psycopg", "psycopg", "PostgreSQL: extra `postgres`"),
    ("sentence-transformers", "sentence_transformers", "encoders `st:NAME`: extra `models`"),
    ("torch", "torch", "encoders `st:NAME` and training: extra `models`"),
)
REQUIRED = {"openvino", "faiss", "tantivy", "aiosqlite"}


def doctor(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Check the installation and the data; exit code 1 where `loadstar serve` would not start."""
    settings = load_settings(
        AppSettings, **given(data_dir=data_dir, database_url=database_url, encoder=encoder)
    )
    findings = asyncio.run(examine(settings))
    if as_json:
        print_json(findings)
    else:
        for area, found in findings.items():
            _print_area(area, found)
    if not findings["ok"]:
        raise typer.Exit(1)


async def examine(settings: AppSettings) -> dict[str, Any]:
    """Everything that `doctor` reports, by area; `ok` says whether `serve` would start."""
    findings: dict[str, Any] = {"python": platform.python_version(), "parts": _parts()}
    findings["gpu"] = _gpu()
    problems = [
        f"{name} is missing: {found['for']}"
        for name, found in findings["parts"].items()
        if found["required"] and not found["version"]
    ]
    try:
        embedder = load_embedder(settings.encoder, threads=settings.threads)
        findings["space"] = embedder.space.describe()
        findings["model_file"] = _model_file(settings.encoder, embedder)
        policy = load_policy(settings.policy_file)
        scored_by = load_second_stage(settings, embedder.space).name
        findings["reranker"] = {"scored_by": scored_by, "files": _reranker_files(settings.reranker)}
        scale = policy.scale(scored_by)
        findings["policy"] = {"id": policy.id, "calibration": scale.calibration}
        findings["data"] = await _data(settings, embedder)
    except LoadstarError as error:
        problems.append(f"{error.detail} [{error.code}]")
    files = [findings.get("model_file"), findings.get("reranker", {}).get("files")]
    if "altered" in files:
        problems.append("a model file is not the one its card describes; restore it")
    findings["problems"] = problems
    findings["ok"] = not problems
    return findings


def _parts() -> dict[str, dict[str, Any]]:
    return {
        distribution: {
            "version": _version(distribution, module),
            "required": module in REQUIRED,
            "for": purpose,
        }
        for distribution, module, purpose in PARTS
    }


def _version(distribution: str, module: str) -> str | None:
    if find_spec(module) is None:
        return None
    try:
        return version(distribution)
    except PackageNotFoundError:  # e.g. faiss-gpu brings the module under another name
        return "unknown"


def _gpu() -> str:
    if not hasattr(faiss, "StandardGpuResources"):
        return "this FAISS has no GPU support: extra `gpu`"
    return f"{faiss.get_num_gpus()} GPUs"


def _model_file(encoder: str, embedder: Embedder) -> str:
    folder = model_folder(encoder)
    if not (folder / ONNX_FILE).is_file():
        return "none: it is not an exported model"
    return _whole({folder / ONNX_FILE: embedder.space.revision})


def _reranker_files(reranker: str) -> str:
    folder = model_folder(reranker)
    if not (folder / CARD_FILE).is_file():
        return "none: it is not an exported model"
    card = Card.read(folder)
    words = model_folder(card.encoder) / ONNX_FILE
    return _whole({words: card.revision, folder / HEAD_FILE: card.head})


def _whole(digests: Mapping[Path, str]) -> str:
    intact = all(
        file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == expected
        for file, expected in digests.items()
    )
    return "intact" if intact else "altered"


async def _data(settings: AppSettings, embedder: Embedder) -> dict[str, Any]:
    engine = await open_database(settings.catalogue_url, create=False)
    try:
        async with read(engine) as connection:
            skills = await store.count_live(connection)
            catalogues = await store.list_catalogues(connection)
            seq = await feed.head(connection)
            current = await store.current_generation(connection, embedder.space.id)
    finally:
        await engine.dispose()
    generation: dict[str, Any] | None = None
    if current is not None:
        loaded = Generation.load(settings.generations_dir / current, embedder.space)
        generation = {
            "id": loaded.id,
            "skills": len(loaded.segment.rows),
            "seq": loaded.seq,
            "changes_since": seq - loaded.seq,
        }
    return {
        "database": engine.url.render_as_string(),
        "skills": skills,
        "catalogues": len(catalogues),
        "seq": seq,
        "generation": generation or "none yet for this space: run `loadstar index`",
    }


def _print_area(area: str, found: Any) -> None:
    if not isinstance(found, dict):
        for line in found if isinstance(found, list) else [found]:
            stdout.print(f"{area:>12}: {line}")
        return
    for name, value in found.items():
        if isinstance(value, dict) and "required" in value:
            value = value["version"] or f"missing; needed for {value['for']}"
        stdout.print(f"{area:>12}: {name} {value}")
