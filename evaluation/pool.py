"""Pool of 20,000 skills for quick work: always the same ones, beside the whole dump."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from evaluation.datasets import Skills
from evaluation.split import Row, skills_of
from evaluation.types import Place, catalogue_of

QUICK_POOL = 20_000


def quick_pool(
    skills: Skills, rows: Iterable[Row], *, whole: Collection[str] = (), size: int = QUICK_POOL
) -> frozenset[Place]:
    """What the rows need, its twins, the `whole` catalogues, and others by the hash of place.

    With the catalogues that are scored within as `whole`, one index serves both scopes. There
    are more than `size` places where the needed ones alone are more.
    """
    wanted = {place for row in rows for place in skills_of(row) if place in skills}
    groups = {skills[place].near_group for place in wanted} - {None}
    needed = {
        place
        for place, row in skills.items()
        if place in wanted or row.near_group in groups or catalogue_of(place) in whole
    }
    others = sorted(skills.keys() - needed, key=_hash)
    return frozenset(needed.union(others[: max(0, size - len(needed))]))


def _hash(place: Place) -> bytes:
    return hashlib.sha256(place.encode()).digest()
