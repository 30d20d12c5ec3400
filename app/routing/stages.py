"""What the stages of a route hand to one another, and how the ranked skills are judged; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.routing.answer import Judged
from app.routing.needs import Needs, document, in_company
from core.retrieval.arms import LexicalResult
from core.retrieval.view import View
from core.types import ArmHit, Candidate, Filters, Scored, Vector
from reranker.decision import Evidence, SkillEvidence, features, probability
from reranker.overlap import excluded_words, word_weights
from reranker.policy import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the first stage hands to the second."""

    view: View
    seq: int
    filters: Filters
    task: str
    text: str  # what was searched for: the task and the messages
    vector: Vector  # of that text
    dense: Sequence[ArmHit]
    lexical: LexicalResult
    candidates: Sequence[Candidate]
    named: frozenset[int]
    need: float  # logit that the task needs any skill
    needs: Needs  # what the task asks for, apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What the second stage hands to the decision."""

    ordered: Sequence[Scored]  # all that were read back
    skills: Sequence[Scored]  # those that are left when twins are collapsed
    scored_by: str
    scale: Scale


def named_first(fused: Sequence[Candidate], named: Sequence[int]) -> list[Candidate]:
    """The candidates with the named rows in front, those that no arm returned included."""
    by_row = {candidate.row: candidate for candidate in fused}
    first = [
        by_row.get(row, Candidate(row=row, score=0.0, arm_scores={}, passage=None)) for row in named
    ]
    return [*first, *(candidate for candidate in fused if candidate.row not in set(named))]


def near(found: Found) -> bool:
    """Whether a skill is more like the task than any is like a background query."""
    background = found.view.background(found.filters)
    return bool(found.dense) and found.dense[0].score > background.max(initial=0.0)


def judge(skills: Sequence[Scored], ranked: Ranked, found: Found) -> list[Judged]:
    """These skills, in this order, with their features and their probability of helping."""
    found_of = features(_evidence(skills, found, _lowest(ranked.skills)))
    alone = [probability(each, ranked.scale) for each in found_of]
    shares = [found.needs.held_by(scored) for scored in skills]
    useful = in_company(alone, shares, found.needs.chars)
    return [
        Judged(scored=scored, features=each, p_alone=p_alone, p_useful=p_useful, shares=held)
        for scored, each, p_alone, p_useful, held in zip(
            skills, found_of, alone, useful, shares, strict=True
        )
    ]


def _lowest(ranked: Sequence[Scored]) -> float:
    return min((scored.rerank for scored in ranked if scored.rerank is not None), default=0.0)


def _evidence(ranked: Sequence[Scored], found: Found, lowest: float) -> Evidence:
    # A skill that the dense arm did not return is at most as similar as its last hit.
    least = found.dense[-1].score if found.dense else 0.0
    # A skill must not look doubtful because copies of it follow.
    twins = {twin.row for scored in ranked for twin in scored.twins}
    return Evidence(
        skills=[
            SkillEvidence(
                similarity=scored.arm_scores.get("dense", least),
                lexical=scored.arm_scores.get("lexical", 0.0),
                words=word_weights(document(scored.version)).keys(),
                excluded=excluded_words(scored.version.name, scored.version.description),
                rerank=lowest if scored.rerank is None else scored.rerank,
            )
            for scored in ranked
        ],
        similarities=[hit.score for hit in found.dense if hit.row not in twins],
        lexical=[hit.score for hit in found.lexical.hits if hit.row not in twins],
        background=found.view.background(found.filters),
        idf=found.lexical.idf,
        need=found.need,
    )
