"""Rows that the tests of the evaluation are made of."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.types import POOL, Query, Ranking, Run, Split


def a_query(qid: str, *relevant: str, **others: Any) -> Query:
    fields = {
        "text": f"text of {qid}",
        "catalogue": None,
        "source": "set",
        "split": Split.TEST,
        **others,
    }
    return Query(qid=qid, relevant=relevant, **fields)


def a_run(
    answers: Mapping[str, Sequence[str]], *, scope: str = POOL, system: str = "system"
) -> Run:
    rankings = {
        qid: Ranking(places=tuple(places), scores=(0.5,) * len(places), latency_ms=1)
        for qid, places in answers.items()
    }
    return Run(system=system, scope=scope, rankings=rankings)


def a_skill(place: str, **others: Any) -> dict[str, Any]:
    name = place.rsplit("/", 1)[-1]
    return {
        "id": place,
        "license": "MIT",
        "name": name,
        "description": f"what {name} does",
        "frontmatter": {},
        "body": f"# {name}",
        "truncated": False,
        "files": [],
        "lang": "en",
        "near_group": None,
        **others,
    }


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".xz":
        path.write_bytes(lzma.compress(text.encode(), preset=0))
    else:
        path.write_text(text, encoding="utf-8")
    return path
