"""Fusion: the arms' hits made one list, by a convex combination of normalised scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.types import ArmHit, Candidate


def fuse(
    hits_by_arm: Mapping[str, Sequence[ArmHit]], weights: Mapping[str, float], k: int
) -> list[Candidate]:
    """The k skills with the highest weighted mean of the arms' normalised scores, best first.

    An arm's score is divided by the arm's best for this query, with 0 as the least it can give
    (BM25 has no lower score; a cosine below 0 says no more than 0): theoretical-minimum
    normalisation, Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid
    Retrieval". A skill that an arm did not return counts 0 there. Weights are shared among the
    arms that ran, so a key with no hits lowers scores and a missing key does not.

    Scores lie in [0, 1]; ties are ordered by row. Raises KeyError for an arm without a weight.
    """
    total = sum(weights[arm] for arm in hits_by_arm)
    fused: dict[int, float] = {}
    raw: dict[int, dict[str, float]] = {}
    passages: dict[int, int] = {}
    for arm in sorted(hits_by_arm):
        hits = hits_by_arm[arm]
        best = max((hit.score for hit in hits), default=0.0)
        share = weights[arm] / total if total > 0 else 0.0
        for hit in hits:
            normalised = max(hit.score, 0.0) / best if best > 0 else 0.0
            fused[hit.row] = fused.get(hit.row, 0.0) + share * normalised
            raw.setdefault(hit.row, {})[arm] = hit.score
            if hit.passage is not None:
                passages[hit.row] = hit.passage
    ranked = sorted(fused, key=lambda row: (-fused[row], row))[:k]
    return [
        Candidate(
            row=row,
            score=min(fused[row], 1.0),
            arm_scores=raw[row],
            passage=passages.get(row),
        )
        for row in ranked
    ]
