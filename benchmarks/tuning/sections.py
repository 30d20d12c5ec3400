"""Sections: how much of a skill's body each way of choosing one for a task sends.

python -m benchmarks.tuning.sections --data ../shared/data
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.routing.content import chapter, fitting
from benchmarks.tuning.rows import SETS, tuning_rows
from core.skill_format import parse, sections_of
from core.text import passages
from evaluation.datasets import read_bodies

HEADER = ("set", "rows", "of the nearest passage", "with the task's words", "none holds any")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled rows")
    lines = [HEADER, ("---",) * len(HEADER), *table(parser.parse_args().data)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def table(data: Path) -> Iterator[tuple[str, ...]]:
    """One line for each set: medians, over its rows, of the share of the right skill's body."""
    rows = tuning_rows(data)
    bodies = dict(read_bodies(data, {q.relevant[0] for q in rows.queries}))
    for name in SETS:
        asked = [(query.text, bodies[query.relevant[0]]) for query in rows.unnamed(name)]
        passage = [share_of_passage(body) for _, body in asked]
        words = [share_of_words(task, body) for task, body in asked]
        found = [share for share in words if share is not None]
        figures = (f"{np.median(passage):.2f}", f"{np.median(found):.2f}")
        yield name, str(len(asked)), *figures, str(len(words) - len(found))


def share_of_passage(body: str) -> float:
    """Of the chapter under the heading that the body passage carries."""
    draft = parse(body.encode(), fallback_name="skill")
    heading = passages(draft)[-1].section
    place = [section.heading for section in draft.sections].index(heading)
    return len(chapter(draft.sections, place)) / len(body)


def share_of_words(task: str, body: str) -> float | None:
    """Of the section that fits the task; None where none holds a word of it."""
    sections = sections_of(body)
    place = fitting(sections, task)
    return None if place is None else len(chapter(sections, place)) / len(body)


if __name__ == "__main__":
    main()
