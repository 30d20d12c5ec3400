"""Leave-one-catalogue-out: `fused` with an arm weight that its catalogue had no say in.

`fused` weighs the arms as the policy says, and whoever wrote the policy had seen rows of every
catalogue. Where `fused-loco` does as well, the weight carries over to catalogues never seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.retrieval.fuse import fuse
from core.types import ArmHit
from evaluation.datasets import Labelled
from evaluation.prepare import WHOLE_SETS
from evaluation.retrieval_metrics import UNNAMED, Twins, standing
from evaluation.split import Fold, leave_one_catalogue_out
from evaluation.systems import Bench, System
from evaluation.types import Place, Query, Split

NAME = "fused-loco"
DENSE_WEIGHTS = tuple(step / 10 for step in range(11))
"""What is tried for the dense arm; the lexical one has the rest."""

ArmHits = Mapping[str, Sequence[ArmHit]]


def folds_of(labelled: Labelled, rows: Collection[Place], whole: Collection[str]) -> list[Fold]:
    """One fold for each catalogue that is indexed whole and holds a whole labelled set.

    Over the queries of those sets that do not name their skill, whose skills are among the
    indexed `rows`; not train ones, which the encoder has learned and so finds better than others.
    """
    queries = [
        query
        for query in labelled.queries
        if query.source in WHOLE_SETS
        and query.split is not Split.TRAIN
        and query.relevant
        and standing(query) in UNNAMED
        and query.catalogue in whole
        and set(query.relevant).issubset(rows)
    ]
    return list(leave_one_catalogue_out(queries, labelled.assignment))


def loco_systems(bench: Bench, folds: Iterable[Fold], twins: Twins) -> dict[str, System]:
    """`fused-loco` by catalogue, each with the weight that did best on the other catalogues."""
    hits: dict[str, ArmHits] = {}
    systems = {}
    for fold in folds:
        for query in fold.fit:
            if query.catalogue and query.qid not in hits:
                hits[query.qid] = bench.arms(query.text, query.catalogue)
        dense = best_dense_weight(fold.fit, hits, bench.places, twins)
        note = (
            f"{NAME} within {fold.catalogue}: dense weight {dense:g}, "
            f"fitted on {len(fold.fit)} rows of other catalogues"
        )
        fused = bench.fused(fold.catalogue, _shares(dense))
        systems[fold.catalogue] = replace(fused, name=NAME, notes=(note,))
    return systems


def best_dense_weight(
    queries: Sequence[Query],
    hits: Mapping[str, ArmHits],
    places: Mapping[int, Place],
    twins: Twins,
) -> float:
    """The weight with the highest Hit@1, the mean of the catalogues' means; of equals the middle.

    `hits` are each query's by qid, within its catalogue.
    """

    def hit_rate(weight: float) -> float:
        by_catalogue: dict[str | None, list[bool]] = {}
        for query in queries:
            right = _is_first(query, hits[query.qid], _shares(weight), places, twins)
            by_catalogue.setdefault(query.catalogue, []).append(right)
        return float(np.mean([np.mean(found) for found in by_catalogue.values()]))

    return max(DENSE_WEIGHTS, key=lambda weight: (hit_rate(weight), -abs(weight - 0.5)))


def _is_first(
    query: Query,
    hits: ArmHits,
    weights: Mapping[str, float],
    places: Mapping[int, Place],
    twins: Twins,
) -> bool:
    needed = {twins.get(place, place) for place in query.relevant}
    first = [places[candidate.row] for candidate in fuse(hits, weights, 1)]
    return any(twins.get(place, place) in needed for place in first)


def _shares(dense: float) -> dict[str, float]:
    return {"dense": dense, "lexical": 1 - dense}
