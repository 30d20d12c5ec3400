"""Rows that the first stage may be tuned on: train and calibration, with a right skill.

A test row never leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.types import SkillDraft
from evaluation.datasets import SKILLS_FILE, read_labelled, read_skills, twins_of
from evaluation.pool import quick_pool
from evaluation.types import Place, Query, Split
from indexer import package
from indexer.package import Package
from indexer.sources import dump

WITHIN = ("uipath", "nvidia", "salesforce", "salesforce-variants")
"""Sets that are scored within their catalogue and over the pool."""

POOL_ONLY = ("skill-prompts-labelled", "skill-prompts")
"""Sets from many repositories, scored over the pool; the second holds weak positives."""

SETS = (*WITHIN, *POOL_ONLY)


@dataclass(frozen=True, kw_only=True)
class TuningRows:
    """Every query of SETS to tune on, and what its score needs."""

    queries: tuple[Query, ...]  # rows that name their skill included: `unnamed` leaves them out
    twins: Mapping[Place, str]  # near_group by place
    components: Mapping[str, str]  # by qid: what is tied together, to draw by
    pool: frozenset[Place]  # the quick pool, with the catalogues of WITHIN whole

    def unnamed(self, source: str, split: Split | None = None) -> list[Query]:
        """The headline rows of a set: those that do not name their skill; of one split or both."""
        return [
            query
            for query in self.queries
            if query.source == source and not query.names_skill and split in (None, query.split)
        ]

    def naming(self) -> TuningRows:
        """The rows that name their skill as rows of their own, to be reported apart."""
        named = (query for query in self.queries if query.names_skill)
        return replace(self, queries=tuple(replace(query, names_skill=False) for query in named))


def tuning_rows(data: Path) -> TuningRows:
    """Read the labelled rows of a data folder; some 20 s, most of it the dump."""
    skills = read_skills(data)
    labelled = read_labelled(data, skills)
    whole = {q.catalogue for q in labelled.queries if q.catalogue and q.source in WITHIN}
    queries = tuple(
        query
        for query in labelled.queries
        if query.source in SETS and query.relevant and query.split is not Split.TEST
    )
    return TuningRows(
        queries=queries,
        twins=twins_of(skills),
        components={query.qid: labelled.assignment.component[query.qid] for query in queries},
        pool=quick_pool(skills, labelled.rows, whole=whole),
    )


def drafts(data: Path, pool: frozenset[Place]) -> Iterator[tuple[Place, SkillDraft]]:
    """The pool's skills in the dump's order, as the indexer reads them; 20,000 take a minute."""
    for found in dump.packages(data / SKILLS_FILE):
        if isinstance(found, Package):
            place = f"{found.catalogue}/{found.path}" if found.path else found.catalogue
            if place in pool:
                yield place, package.read(found)[0]


def verbatim(rows: TuningRows, texts: Mapping[Place, str]) -> set[str]:
    """Queries that stand word by word in the text of their right skill."""
    return {
        query.qid
        for query in rows.queries
        if any(_spaced(query.text) in _spaced(texts[place]) for place in query.relevant)
    }


def _spaced(text: str) -> str:
    return " ".join(text.casefold().split())
