"""SIGKILL `loadstar index` at random moments, resume it, and compare with an undisturbed run.

    python -m benchmarks.kill_resume ../shared/data/skills.jsonl.xz --rows 3000 --kills 10

Compared are the live skills with their digests, the texts they need, and the vector keys, which
must be exactly those of the undisturbed run. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.performance import LOADSTAR, first_rows
from core.db import open_database, read
from core.tables import passages, skill_rows, skills, spaces, vectors

Contents = dict[str, set[tuple[Any, ...]]]


def main() -> None:
    """Parse the command line, run, and print what was compared."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dump", type=Path)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, first_rows(arguments.dump, arguments.rows) as d:
        result = compare(d, Path(scratch), arguments.kills, random.Random(arguments.seed))
    print(json.dumps(result, indent=2) if arguments.json else result)
    sys.exit(0 if result["equal"] else 1)


def compare(dump: Path, scratch: Path, kills: int, moments: random.Random) -> dict[str, Any]:
    """Run once undisturbed, once killed `kills` times; what the two hold."""
    started = time.perf_counter()
    run(dump, scratch / "calm").wait()
    calm_s = time.perf_counter() - started
    published_at_kill = []
    for _ in range(kills):
        process = run(dump, scratch / "killed")
        # All kills together fit into the undisturbed run; starting takes about 2 s.
        time.sleep(moments.uniform(2, 2 + 2 * calm_s / kills))
        process.kill()
        process.wait()
        published_at_kill.append(len(asyncio.run(contents(scratch / "killed"))["skills"]))
    if run(dump, scratch / "killed").wait() != 0:
        raise SystemExit("the resumed run failed")
    calm = asyncio.run(contents(scratch / "calm"))
    killed = asyncio.run(contents(scratch / "killed"))
    return {
        "equal": calm == killed,
        "counts": {name: len(found) for name, found in calm.items()},
        "different": {name: len(calm[name] ^ killed[name]) for name in calm},
        "published_at_each_kill": published_at_kill,
    }


def run(dump: Path, data_dir: Path) -> subprocess.Popen[bytes]:
    """`loadstar index`, quietly, in batches so small that a kill falls between some of them."""
    environment = os.environ | {"LOADSTAR_BATCH_SKILLS": "64"}
    command = [*LOADSTAR, "index", str(dump), "--data-dir", str(data_dir)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def contents(data_dir: Path) -> Contents:
    """What a data folder holds, without numbers that depend on the order of publication."""
    engine = await open_database(f"sqlite:///{data_dir / 'catalogue.db'}", create=True)
    live = select(skill_rows.c.skill_id, skill_rows.c.digest).join(
        skills, skills.c.live_row == skill_rows.c.row
    )
    keys = select(spaces.c.name, vectors.c.text_hash).join(spaces)
    async with read(engine) as connection:
        found = {
            "skills": {tuple(row) for row in await connection.execute(live)},
            "texts": {tuple(row) for row in await connection.execute(select(passages.c.text_hash))},
            "vectors": {tuple(row) for row in await connection.execute(keys)},
        }
    await engine.dispose()
    return found


if __name__ == "__main__":
    main()
