"""Are tasks useless to load for once the right skill is gone? 300 of them, judged by hand.

Over a whole marketplace another skill may serve a task whose labelled skill was hidden, so
`present or removed` over the pool calls some good offers wrong. `cases` writes what a judge needs
to read: the task, and the skill that the router puts first in the right one's place. The verdicts
are kept in benchmarks/judged.jsonl, without the texts; `summary` says how many offers serve.

    python -m benchmarks.judged cases --data ../shared/data --data-dir .loadstar --output c.jsonl
    python -m benchmarks.judged summary
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from app.routing.contract import RouteRequest
from app.routing.router import Timings
from app.settings import AppSettings
from core import store
from core.db import read
from core.settings import load_settings
from evaluation.datasets import METATOOL, read_labelled, read_skills, twins_of
from evaluation.prepare import WHOLE_SETS
from evaluation.removal import without
from evaluation.retrieval_metrics import Twins
from evaluation.systems import Bench, open_bench
from evaluation.types import Query, Split

CASES = 300
JUDGED = Path(__file__).with_name("judged.jsonl")
BODY_CHARS = 1_500
VERDICTS = ("serves", "partly", "no")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    cases = commands.add_parser("cases", help="write the cases to judge")
    cases.add_argument("--data", type=Path, required=True, help="folder of the labelled files")
    cases.add_argument("--data-dir", type=Path, required=True, help="as for loadstar eval")
    cases.add_argument("--output", type=Path, required=True, help="JSON lines, texts included")
    commands.add_parser("summary", help="print how many offers serve, by set")
    given = parser.parse_args()
    if given.command == "cases":
        asyncio.run(write_cases(given.data, given.data_dir / "eval-full", given.output))
    else:
        print(summary([json.loads(line) for line in JUDGED.read_text().splitlines()]))


async def write_cases(data: Path, data_dir: Path, output: Path) -> None:
    """Route each sampled task over all skills with its right ones hidden, and note the first."""
    skills = read_skills(data)
    twins = twins_of(skills)
    chosen = sample(read_labelled(data, skills).queries)
    settings = load_settings(AppSettings, data_dir=data_dir)
    async with open_bench(settings, apart=frozenset({METATOOL})) as bench:
        with output.open("w", encoding="utf-8") as lines:
            for query in chosen:
                lines.write(json.dumps(await _case(bench, query, twins), ensure_ascii=False) + "\n")


def sample(queries: Sequence[Query]) -> list[Query]:
    """The test rows with the smallest hashes, of the sets that one catalogue holds whole."""
    rows = [
        query
        for query in queries
        if query.split is Split.TEST
        and query.source in WHOLE_SETS
        and query.relevant
        and not query.names_skill
    ]
    return sorted(rows, key=lambda query: hashlib.sha256(query.qid.encode()).digest())[:CASES]


async def _case(bench: Bench, query: Query, twins: Twins) -> dict[str, Any]:
    groups = {twins.get(place, place) for place in query.relevant}
    hidden = [row for place, row in bench.rows.items() if twins.get(place, place) in groups]
    snapshot = without(bench.snapshot, hidden)
    answer = await bench.parts.router.answer(RouteRequest(task=query.text), snapshot, Timings())
    first = [*answer.skills, *answer.not_loaded][0]
    place = f"{first.catalogue}/{first.path}"
    async with read(bench.parts.engine) as connection:
        (version,) = (await store.versions(connection, [bench.rows[place]])).values()
    return {
        "qid": query.qid,
        "source": query.source,
        "task": query.text,
        "right": list(query.relevant),
        "place": place,
        "name": version.name,
        "description": version.description,
        "body": version.body[:BODY_CHARS],
    }


def summary(judged: Sequence[dict[str, str]]) -> str:
    """A line for each set and one for all: verdicts, and the share that serves with its interval.

    The interval is Clopper and Pearson's, 95 %, both sides.
    """
    sets = sorted({row["source"] for row in judged})
    lines = [_line(name, [row for row in judged if row["source"] == name]) for name in sets]
    return "\n".join([*lines, _line("all", judged)])


def _line(name: str, rows: Sequence[dict[str, str]]) -> str:
    counts = Counter(row["verdict"] for row in rows)
    found = stats.binomtest(counts["serves"], len(rows)).proportion_ci(method="exact")
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    return (
        f"{name}: {len(rows)} cases, {verdicts}; serves {counts['serves'] / len(rows):.3f} "
        f"[{found.low:.3f}, {found.high:.3f}]"
    )


if __name__ == "__main__":
    main()
