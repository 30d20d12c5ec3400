"""Own queries of an operator: JSON lines `{query, expected}` over the operator's own skills.

`expected` is a place `owner/catalogue/path`, a skill id `skl_…`, a list of them that the task
needs together, or null where nothing should load.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.types import skill_id
from evaluation.datasets import UNASSIGNED, DatasetError
from evaluation.language import language_of
from evaluation.types import Place, Query, catalogue_of


def read_own_queries(path: Path, places: Collection[Place]) -> list[Query]:
    """Queries of one file over the skills at `places`.

    A qid is made of the text, so that a row keeps its split while the file grows. Raises
    DatasetError, naming file and line, for a row that cannot be used or repeats a query.
    """
    by_id = {_id_of(place): place for place in places}
    known = set(places)
    queries: dict[str, Query] = {}
    for line, text in _lines(path):
        where = f"{path}, line {line}"
        query = _query(_object(text, where), path.stem, where, known, by_id)
        if query.qid in queries:
            raise DatasetError(f"{where}: this query stands in the file twice")
        queries[query.qid] = query
    if not queries:
        raise DatasetError(f"{path}: no rows; a row is an object with query and expected")
    return list(queries.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8, at byte {error.start}") from error
    # Not splitlines(), which also breaks at separators that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _object(text: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where}: not JSON: {error.msg}") from error
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: a row is an object with query and expected")
    return row


def _query(
    row: Mapping[str, Any],
    source: str,
    where: str,
    known: Collection[Place],
    by_id: Mapping[str, Place],
) -> Query:
    text = row.get("query")
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f"{where}: query must be a text that is not empty")
    if "expected" not in row:
        raise DatasetError(f"{where}: expected is missing; write null where nothing should load")
    relevant = tuple(_place(name, where, known, by_id) for name in _names(row["expected"], where))
    catalogues = {catalogue_of(place) for place in relevant}
    return Query(
        qid=f"{source}-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        text=text,
        relevant=tuple(dict.fromkeys(relevant)),
        catalogue=catalogues.pop() if len(catalogues) == 1 else None,
        source=source,
        split=UNASSIGNED,
        language=language_of(text),
    )


def _names(expected: object, where: str) -> list[str]:
    if expected is None:
        return []
    names = [expected] if isinstance(expected, str) else expected
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{where}: expected is a skill, a list of skills, or null")
    if not names:
        raise DatasetError(f"{where}: expected is empty; write null where nothing should load")
    return names


def _place(name: str, where: str, known: Collection[Place], by_id: Mapping[str, Place]) -> Place:
    place = by_id.get(name, name)
    if place not in known:
        raise DatasetError(
            f"{where}: no skill {name!r} here; a skill is named owner/catalogue/path or skl_…"
        )
    return place


def _id_of(place: Place) -> str:
    catalogue = catalogue_of(place)
    return skill_id(catalogue, place[len(catalogue) + 1 :])
