"""A route as it went, and what its stages hold of one skill; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from app.routing.answer import Judged
from app.routing.stages import Found, Ranked, judge
from core.retrieval.arms import LexicalArm, dense
from core.retrieval.fuse import fuse
from core.types import ArmHit, Scored, SkillVersion

DEEPEST = 1_000  # hits of an arm among which a skill's rank is told

# Why a skill that never reached the answer is not offered. Documented in docs/api.md.
EXPLAIN_REASONS = {
    "hidden": "the request cannot see it",
    "not_returned": "neither arm found it near enough",
    "not_read_back": "better candidates were read back",
    "twin": "a better placed skill has nearly the same body",
    "beyond_k": "the answer holds `k` better skills",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an arm says of one skill."""

    rank: int | None  # from 1
    hit: ArmHit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What both arms say of one skill, and how many of their hits were looked through."""

    lexical: Seen
    dense: Seen
    depth: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """A route as it went, and what it holds of one skill."""

    found: Found
    ranked: Ranked
    arm_weights: Mapping[str, float]
    depth: int  # hits that an arm returns
    load: float  # threshold in force
    offered: Set[str]  # ids
    reasons: Mapping[str, str]  # of what is in the answer and not offered, by id

    @cached_property
    def fused(self) -> Mapping[int, tuple[int, float]]:
        """Rank, from 1, and fused score of all that the arms returned, by row."""
        hits = {"dense": self.found.dense, "lexical": self.found.lexical.hits}
        ranked = fuse(hits, self.arm_weights, sum(map(len, hits.values())))
        return {each.row: (rank, each.score) for rank, each in enumerate(ranked, start=1)}

    def visible(self, row: int) -> bool:
        """Whether the request can see it."""
        return self.found.view.sees(row, self.found.filters)

    def read_back(self, row: int) -> Scored | None:
        """What the second stage made of it, before twins were collapsed; None if not read back."""
        return next((each for each in self.ranked.ordered if each.version.row == row), None)

    def place(self, row: int) -> int | None:
        """From 1, in the final order; None where it was folded or not read back."""
        rows = [each.version.row for each in self.ranked.skills]
        return rows.index(row) + 1 if row in rows else None

    def home(self, row: int) -> SkillVersion | None:
        """The skill that it was folded into."""
        return next(
            (each.version for each in self.ranked.skills if row in {t.row for t in each.twins}),
            None,
        )

    def returned(self, row: int) -> Looked:
        """What the arms returned of it."""
        return Looked(
            dense=_seen(self.found.dense, row),
            lexical=_seen(self.found.lexical.hits, row),
            depth=self.depth,
        )

    def reason(self, version: SkillVersion) -> str | None:
        """The first stage that dropped it, or why the answer does not offer it; None if it does."""
        if version.skill_id in self.offered:
            return None
        if version.skill_id in self.reasons:
            return self.reasons[version.skill_id]
        if not self.visible(version.row):
            return "hidden"
        if self.home(version.row):
            return "twin"
        if self.place(version.row):
            return "beyond_k"
        return "not_read_back" if version.row in self.fused else "not_returned"

    def judged(self, version: SkillVersion, looked: Looked, k: int) -> Judged:
        """It, judged where it stands; as if it came last where it was not read back.

        For what is among the first `k`, just as a route for `k` skills judges it.
        """
        ranked, place, home = self.ranked, self.place(version.row), self.home(version.row)
        if place is not None:
            return judge(ranked.skills[: max(k, place)], ranked, self.found)[place - 1]
        above = ranked.skills[: self.place(home.row)] if home else ranked.skills
        last = self.read_back(version.row) or _unread(version, looked)
        return judge([*above, last], ranked, self.found)[-1]


def look(found: Found, lexical: LexicalArm, row: int) -> Looked:
    """What the arms say of a row to DEEPEST hits; its scores also beyond, and where it is hidden.

    Blocks.
    """
    view, filters, alone = found.view, found.filters, found.view.only(row)
    similar = dense(view, found.vector, filters, DEEPEST, threads=1)
    worded = lexical.search(view, found.text, filters, DEEPEST).hits
    return Looked(
        dense=_seen(similar, row, dense(alone, found.vector, filters, 1, threads=1)),
        lexical=_seen(worded, row, lexical.search(alone, found.text, filters, 1).hits),
        depth=DEEPEST,
    )


def _seen(hits: Sequence[ArmHit], row: int, alone: Sequence[ArmHit] = ()) -> Seen:
    """`alone` is the row's own hit, if it has one, for where it is none of the `hits`."""
    for rank, hit in enumerate(hits, start=1):
        if hit.row == row:
            return Seen(rank=rank, hit=hit)
    return Seen(rank=None, hit=next(iter(alone), None))


def _unread(version: SkillVersion, looked: Looked) -> Scored:
    hits = {"dense": looked.dense.hit, "lexical": looked.lexical.hit}
    return Scored(
        version=version,
        score=0.0,
        fused=0.0,
        arm_scores={arm: hit.score for arm, hit in hits.items() if hit},
        rerank=None,
        passage=looked.dense.hit.passage if looked.dense.hit else None,
        exact_name=False,
    )
