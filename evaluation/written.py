"""Written tasks as rows: long descriptions and short requests, in the split of their skills."""

from __future__ import annotations

from collections.abc import Iterable

from evaluation.datasets import Skills
from evaluation.split import Assignment
from evaluation.types import Place, Query, Split
from reranker.learn.examples import WrittenTask

TASKS, REQUESTS = "written-tasks", "written-requests"
WRITTEN = frozenset({TASKS, REQUESTS})
"""Sets that were written for Loadstar: over the pool, and for retrieval alone."""


def split_of(places: Iterable[Place], assignment: Assignment) -> Split:
    """The strictest side of any of the skills; what nothing ties to a labelled row may train."""
    sides = {assignment.of_skill(place) for place in places}
    strictest_first = (Split.TEST, Split.CALIBRATION)
    return next((split for split in strictest_first if split in sides), Split.TRAIN)


def written_queries(
    tasks: Iterable[WrittenTask], skills: Skills, assignment: Assignment
) -> list[Query]:
    """A row for each task all of whose skills are among `skills`."""
    return [
        Query(
            qid=task.qid,
            text=task.text,
            relevant=task.skills,
            catalogue=None,
            source=TASKS if task.long else REQUESTS,
            split=split_of(task.skills, assignment),
            truncated=any(skills[place].truncated for place in task.skills),
            language=task.language,
        )
        for task in tasks
        if skills.keys() >= set(task.skills)
    ]


def written_together(queries: Iterable[Query]) -> dict[str, str]:
    """By qid: the task that a row was written with; its requests are no independent draws."""
    return {query.qid: query.qid.split("-request-")[0] for query in queries}
