"""Order, twins and snippets of the reranked candidates; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from core.text import prose
from core.types import Candidate, Scored, SkillVersion

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
    """Best first: named skills, then the convex mix of the fused and the reranker's score."""
    scored = [
        Scored(
            version=versions[candidate.row],
            score=_mixed(candidate.score, rerank.get(candidate.row), rerank_weight),
            fused=candidate.score,
            arm_scores=candidate.arm_scores,
            rerank=rerank.get(candidate.row),
            passage=candidate.passage,
            exact_name=candidate.row in named,
        )
        for candidate in candidates
        if candidate.row in versions
    ]
    return sorted(scored, key=lambda s: (not s.exact_name, -s.score, s.version.row))


def _mixed(fused: float, rerank: float | None, weight: float) -> float:
    return fused if rerank is None else (1 - weight) * fused + weight * rerank


def collapse_twins(ranked: Sequence[Scored]) -> list[Scored]:
    """Keep the best-ranked of each set of twins, the others listed on it; order is kept."""
    kept: list[Scored] = []
    twins: list[list[SkillVersion]] = []
    for scored in ranked:
        home = next(
            (i for i, other in enumerate(kept) if are_twins(other.version, scored.version)), None
        )
        if home is None:
            kept.append(scored)
            twins.append([])
        else:
            twins[home].append(scored.version)
    return [replace(s, twins=tuple(others)) for s, others in zip(kept, twins, strict=True)]


def are_twins(one: SkillVersion, other: SkillVersion) -> bool:
    """The same content, or bodies whose word triples overlap by about TWIN_AGREEMENT."""
    if one.digest == other.digest:
        return True
    return float(np.mean(one.signature == other.signature)) >= TWIN_AGREEMENT


def snippet(scored: Scored) -> tuple[str, str]:
    """The heading of the passage that matched, and the start of its text."""
    passages = scored.version.passages
    if scored.passage is None or scored.passage >= len(passages):
        return "", prose(scored.version.description)[:SNIPPET_CHARS]
    passage = passages[scored.passage]
    text = passage.text.partition("\n")[2] or passage.text
    return passage.section, text[:SNIPPET_CHARS]
