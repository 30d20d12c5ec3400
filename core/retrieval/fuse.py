"""Fusion: the arms' hits made one list, by a convex combination of their shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.types import ArmHit, Candidate


def fuse(
    hits_by_arm: Mapping[str, Sequence[ArmHit]], weights: Mapping[str, float], k: int
) -> list[Candidate]:
    """The k skills with the highest weighted mean of the arms' shares, best first.

    A share says how much of the most that an arm could give for this task a skill got: it is
    the same scale for every task, so that an arm that found little counts little (compare Bruch,
    Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval", whose
    theoretical minimum is kept, and whose division by the best hit is not). A skill that an arm
    did not return counts as much there as the arm's last hit, which it cannot exceed; or 0 where
    the arm returned fewer than another, and so has no more. All arms must have been asked for as
    many. Weights are shared among the arms that ran, so a key with no hits lowers scores and a
    missing key does not.

    Scores lie in [0, 1]; ties are ordered by row. Raises KeyError for an arm without a weight.
    """
    total = sum(weights[arm] for arm in hits_by_arm)
    most = max(map(len, hits_by_arm.values()), default=0)
    fused = dict.fromkeys(sorted(hit.row for hits in hits_by_arm.values() for hit in hits), 0.0)
    raw: dict[int, dict[str, float]] = {row: {} for row in fused}
    passages: dict[int, int] = {}
    for arm, hits in sorted(hits_by_arm.items()):
        weight = weights[arm] / total if total > 0 else 0.0
        least = min((hit.share for hit in hits), default=0.0) if len(hits) == most else 0.0
        shares = {hit.row: hit.share for hit in hits}
        for row in fused:
            fused[row] += weight * shares.get(row, least)
        for hit in hits:
            raw[hit.row][arm] = hit.score
            if hit.passage is not None:
                passages[hit.row] = hit.passage
    ranked = sorted(fused, key=lambda row: (-fused[row], row))[:k]
    return [
        Candidate(
            row=row, score=min(fused[row], 1.0), arm_scores=raw[row], passage=passages.get(row)
        )
        for row in ranked
    ]
