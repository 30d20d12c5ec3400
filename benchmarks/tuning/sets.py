"""What joins a set of skills: the weights of `app.routing.needs`, fitted on written tasks.

Long tasks of the train and calibration sides over 20,000 skills, all that they need among them, and
labelled queries within their catalogues, where one skill is right. Prints the weights, what they
predict beside what was right, and what each probability to join from would give. Half an hour; the
tables of docs/decisions/0018.

    python -m benchmarks.tuning.sets --data ../shared/data --data-dir .loadstar

where the data folder holds the whole dump (`loadstar index DATA/skills.jsonl.xz`).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from app.routing.contract import MAX_TASK_CHARS, RoutedSkill, RouteFilters, RouteRequest
from app.routing.follower import Snapshot
from app.routing.needs import Needs, document, gain
from app.routing.router import Timings
from app.settings import AppSettings
from core import store
from core.db import read
from core.settings import load_settings
from evaluation.datasets import twins_of
from evaluation.prepare import WHOLE_SETS, read_verified
from evaluation.removal import without
from evaluation.retrieval_metrics import UNNAMED, Twins, standing
from evaluation.split import committed
from evaluation.systems import Bench, open_bench
from evaluation.types import Place, Query, Split
from evaluation.written import TASKS
from reranker.overlap import word_weights

POOL_SKILLS = 20_000
FOLDS = 5
DEPTH = 16
PLACES = 6  # of a ranking that are learned from
FROM = (0.15, 0.2, 0.25, 0.3, 0.4)
SEVERAL_COUNT = 3.0
"""How often a task of several needs counts: each other kind counts once in all."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A task's skills in order, from the second on: features, and whether each adds one needed."""

    kind: str
    columns: Floats  # shape (skills, 3): logit of its own probability, gain, log characters
    adds: NDArray[np.bool_]
    first: float  # share of the needed skills that the first one is
    needed: int
    fold: int


def main() -> None:
    """Print the weights and the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled files")
    parser.add_argument("--data-dir", type=Path, required=True, help="with the whole dump indexed")
    parser.add_argument("--tasks", type=int, default=560, help="written tasks to route")
    given = parser.parse_args()
    ranked = asyncio.run(observe(given.data, given.data_dir, given.tasks))
    weights = fit(ranked)
    print("own probability, gain, length, bias:", *(f"{value:.3f}" for value in weights))
    p = out_of_fold(ranked)
    for kind, count in sorted(Counter(each.kind for each in ranked).items()):
        here = [(each, held) for each, held in zip(ranked, p, strict=True) if each.kind == kind]
        predicted = np.mean(np.concatenate([held for _, held in here]))
        right = np.mean(np.concatenate([each.adds for each, _ in here]))
        print(f"{kind} ({count}): predicted {predicted:.3f}, right {right:.3f}", end="; one skill")
        for bar in FROM:
            alone = np.mean([not len(held) or held[0] < bar for _, held in here])
            print(f", from {bar:g} {alone:.2f}", end="")
        print()
    several = [(each, held) for each, held in zip(ranked, p, strict=True) if each.needed > 1]
    for bar in FROM:
        joined = [int((np.minimum.accumulate(held) >= bar).sum()) for _, held in several]
        found = [
            each.first + each.adds[:n].sum() / each.needed
            for (each, _), n in zip(several, joined, strict=True)
        ]
        whole = np.mean([share > 1 - 1e-9 for share in found])
        print(f"from {bar:g}: {1 + np.mean(joined):.2f} skills, all needed {whole:.3f}")


async def observe(data: Path, data_dir: Path, tasks: int) -> list[Ranked]:
    """What the router ranks for written tasks and labelled queries; no test row is asked."""
    prepared = read_verified(data, "full", committed())
    twins = twins_of(prepared.skills)
    random = np.random.default_rng(0)
    async with open_bench(load_settings(AppSettings, data_dir=data_dir)) as bench:
        written = [
            query
            for query in prepared.written
            if query.source == TASKS and query.split is not Split.TEST
        ]
        labelled = [
            query
            for query in prepared.labelled.queries
            if query.source in WHOLE_SETS
            and query.split is not Split.TEST
            and query.relevant
            and standing(query) in UNNAMED
        ]
        picked = [written[n] for n in random.permutation(len(written))[:tasks]]
        needed = {bench.rows[place] for query in picked for place in query.relevant}
        others: list[int] = random.permutation(sorted(bench.places)).tolist()
        kept = [*needed, *(row for row in others if row not in needed)][:POOL_SKILLS]
        pool = without(bench.snapshot, set(bench.places) - set(kept))
        found = [await _rank(bench, query, pool, twins) for query in picked]
        return found + [await _rank(bench, query, bench.snapshot, twins) for query in labelled]


async def _rank(bench: Bench, query: Query, snapshot: Snapshot, twins: Twins) -> Ranked:
    request = RouteRequest(
        task=query.text[:MAX_TASK_CHARS],
        k=DEPTH,
        explain=True,
        filters=RouteFilters(catalogues=[query.catalogue] if query.catalogue else []),
    )
    answer = await bench.parts.router.answer(request, snapshot, Timings())
    stages = (answer.explain or {})["stages"]
    skills = sorted((*answer.skills, *answer.not_loaded), key=lambda skill: -skill.p_useful)
    idf = {
        word.word: word.idf
        for each in stages.values()
        for word in (*each[1].held, *each[1].lacking)
    }
    needs = Needs.of(query.text, idf)
    places = [_places(skill) for skill in skills]
    async with read(bench.parts.engine) as connection:
        rows = [bench.rows[held[0]] for held in places]
        versions = await store.versions(connection, rows)
    right = {twins.get(place, place) for place in query.relevant}
    served, had, first = np.zeros(len(needs.texts)), set[Place](), 0.0
    columns, adds = [], []
    for number, (skill, held) in enumerate(zip(skills[:PLACES], places, strict=False)):
        shares = needs.held(word_weights(document(versions[rows[number]])).keys())
        new = right & {twins.get(place, place) for place in held} - had
        p = float(np.clip(stages[skill.id][6].by_itself, 1e-4, 1 - 1e-4))
        if number:
            columns.append([logit(p), gain(shares, served), np.log(max(needs.chars, 1))])
            adds.append(bool(new))
        else:
            first = len(new) / len(right)
        had |= new
        served = np.maximum(served, shares)
    return Ranked(
        kind=query.source if len(right) == 1 else "several needs",
        columns=np.array(columns).reshape(len(columns), 3),
        adds=np.array(adds, dtype=np.bool_),
        first=first,
        needed=len(right),
        fold=hashlib.sha256((query.qid).encode()).digest()[0] % FOLDS,
    )


def _places(skill: RoutedSkill) -> list[Place]:
    """Its own, then those of its twins."""
    twins = ((twin.catalogue, twin.path) for twin in skill.twins)
    own = (skill.catalogue, skill.path)
    return [f"{catalogue}/{path}".rstrip("/") for catalogue, path in (own, *twins)]


def fit(ranked: Sequence[Ranked]) -> Floats:
    """Logistic regression, every kind counting alike but for tasks of several needs."""
    columns = np.concatenate([each.columns for each in ranked])
    columns = np.column_stack([columns, np.ones(len(columns))])
    adds = np.concatenate([each.adds for each in ranked]).astype(np.float64)
    rows = Counter(kind for each in ranked for kind in [each.kind] * len(each.adds))
    weight = np.array([1 / rows[each.kind] for each in ranked for _ in each.adds])
    weight *= np.where([each.needed > 1 for each in ranked for _ in each.adds], SEVERAL_COUNT, 1)

    def loss(solution: Floats) -> tuple[float, Floats]:
        found = columns @ solution
        each = np.logaddexp(0, found) - adds * found
        return float(weight @ each), columns.T @ (weight * (expit(found) - adds))

    solution: Floats = minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B").x
    return solution


def out_of_fold(ranked: Sequence[Ranked]) -> list[Floats]:
    """Of each task's skills, by weights that were fitted without its fold."""
    by_fold = [fit([each for each in ranked if each.fold != fold]) for fold in range(FOLDS)]
    return [expit(each.columns @ by_fold[each.fold][:3] + by_fold[each.fold][3]) for each in ranked]


if __name__ == "__main__":
    main()
