"""Order, twins and snippets of the reranked candidates; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.text import prose
from core.types import Candidate, Scored, SkillVersion
from reranker.policy import Scale

# Two bodies count as twins when their MinHash signatures agree in this share of places. The
# estimate's standard error at 0.85 is 0.045 with 64 permutations.
TWIN_AGREEMENT = 0.85

SNIPPET_CHARS = 240


def order(
    candidates: Sequence[Candidate],
    versions: Mapping[int, SkillVersion],
    rerank: Mapping[int, float],
    *,
    rerank_weight: float,
    named: Set[int],
) -> list[Scored]:
    """Best first: named skills, then the mix of the fused and the reranker's score.

    Candidates that the reranker was not asked about follow those that it was, as they were fused.
    """
    scored = [
        Scored(
            version=versions[candidate.row],
            score=mixed(candidate.score, rerank.get(candidate.row), rerank_weight),
            fused=candidate.score,
            arm_scores=candidate.arm_scores,
            rerank=rerank.get(candidate.row),
            passage=candidate.passage,
            exact_name=candidate.row in named,
        )
        for candidate in candidates
        if candidate.row in versions
    ]
    return sorted(
        scored, key=lambda s: (not s.exact_name, s.rerank is None, -s.score, s.version.row)
    )


def mixed(fused: float, rerank: float | None, weight: float) -> float:
    """The convex mix of both scores; what the reranker was not asked about has its fused one."""
    return fused if rerank is None else (1 - weight) * fused + weight * rerank


def settled(scored: Sequence[tuple[float, float]], following: float, scale: Scale) -> bool:
    """Whether the first place is decided, so that the rest need not be scored.

    `scored` are pairs of a fused and a reranker's score; `following` is the fused score of the
    best that is not scored. The place is decided where that one would need `scale.enough` or
    more of the reranker to come first.
    """
    if scale.enough is None:
        return False
    best = max(mixed(fused, rerank, scale.rerank_weight) for fused, rerank in scored)
    return best - (1 - scale.rerank_weight) * following >= scale.enough * scale.rerank_weight


def collapse_twins(ranked: Sequence[Scored]) -> list[Scored]:
    """Keep the best-ranked of each set of twins, the others listed on it; order is kept."""
    alike = _twins([scored.version for scored in ranked])
    kept: dict[int, list[SkillVersion]] = {}
    for place, scored in enumerate(ranked):
        home = next((other for other in kept if alike[place, other]), None)
        if home is None:
            kept[place] = []
        else:
            kept[home].append(scored.version)
    return [replace(ranked[place], twins=tuple(others)) for place, others in kept.items()]


def _twins(versions: Sequence[SkillVersion]) -> NDArray[np.bool_]:
    """Which two have the same content, or bodies that agree in TWIN_AGREEMENT; shape (n, n)."""
    if not versions:
        return np.zeros((0, 0), dtype=np.bool_)
    signatures = np.stack([version.signature for version in versions])
    digests = np.array([version.digest for version in versions])
    agreement = (signatures[:, None] == signatures[None]).mean(axis=2)
    alike: NDArray[np.bool_] = (digests[:, None] == digests[None]) | (agreement >= TWIN_AGREEMENT)
    return alike


def snippet(scored: Scored) -> tuple[str, str]:
    """The heading of the passage that matched, and the start of its text."""
    passages = scored.version.passages
    if scored.passage is None or scored.passage >= len(passages):
        return "", prose(scored.version.description)[:SNIPPET_CHARS]
    passage = passages[scored.passage]
    text = passage.text.partition("\n")[2] or passage.text
    return passage.section, text[:SNIPPET_CHARS]
