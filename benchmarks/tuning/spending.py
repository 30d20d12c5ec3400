"""What the reranker's tokens buy: its weight, its depth, what it reads, and when it may stop.

Calibration rows only, over the quick pool and within catalogues: the first stage's best candidates,
scored for every way to read them and, by a listwise reranker, at every depth. Prints what to
choose a policy's weight, depth and early exit by.

    python -m benchmarks.tuning.spending --data ../shared/data --data-dir .loadstar --reranker NAME
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.routing.second_stage import CHUNK
from app.routing.select import mixed, settled
from app.settings import AppSettings
from core import store
from core.db import read
from core.retrieval.fuse import fuse
from core.settings import load_settings
from evaluation.datasets import METATOOL
from evaluation.prepare import WHOLE_SETS, labelled_material, read_verified
from evaluation.retrieval_metrics import UNNAMED, Twins, score, standing
from evaluation.split import committed
from evaluation.systems import Bench, open_bench
from evaluation.types import POOL, Place, Query, Ranking, Run, Split
from evaluation.written import REQUESTS, TASKS, WRITTEN
from reranker.interaction import Standing
from reranker.load import load_reranker
from reranker.overlap import Reranker
from reranker.pairs import Document, document_of, matched_passage
from reranker.policy import Scale, load_policy

DEPTH = 24
SERVED = 8  # what the default tokens suffice for
WEIGHTS = (0.0, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 1.0)
DEPTHS = (4, 8, 12, 16, 24)
LEADS = (None, 10.0, 8.0, 6.0, 4.0, 2.0, 0.0)
METRICS = ("Hit@1", "MRR@10", "Recall@10", "Coverage@10")

INPUTS: Mapping[str, Callable[[Document], Document]] = {
    "all, passage that matched": lambda document: document,
    "all, first passage": lambda document: replace(
        document, body=matched_passage(frozenset(), document.body)
    ),
    "without the passage": lambda document: replace(document, body=""),
    "without the description": lambda document: replace(document, description=""),
    "without the name": lambda document: replace(document, name=""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query within a scope, and the first stage's best for it."""

    query: Query
    scope: str
    places: Sequence[Place]
    standings: Sequence[Standing]
    documents: Sequence[Document]
    costs: Sequence[int]  # tokens of each pair


Scores = Mapping[int, Sequence[float]]
"""Of a query's first candidates, by how many of them were scored together."""


def main() -> None:
    """Parse the command line, score everything, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled files")
    parser.add_argument("--data-dir", type=Path, required=True, help="as for loadstar eval")
    parser.add_argument("--reranker", required=True, help="as LOADSTAR_RERANKER")
    parser.add_argument("--weight", type=float, help="of the logit; the policy's without it")
    given = parser.parse_args()
    reranker = load_reranker(given.reranker)
    asked, twins = asyncio.run(ask(given.data, given.data_dir / "eval-quick", reranker))
    scale = load_policy().scale(reranker.name)
    weight = scale.rerank_weight if given.weight is None else given.weight
    for line in tables(asked, twins, reranker, scale.model_copy(update={"rerank_weight": weight})):
        print(line, flush=True)


async def ask(data: Path, data_dir: Path, reranker: Reranker) -> tuple[list[Asked], Twins]:
    """The calibration rows that do not name their skill, within catalogues and over the pool."""
    prepared = read_verified(data, "quick", committed())
    settings = load_settings(AppSettings, data_dir=data_dir, reranker="overlap")
    async with open_bench(settings, apart=frozenset({METATOOL})) as bench:
        material = labelled_material(bench, prepared, Split.CALIBRATION)
        found = []
        for query in material.queries:
            known = query.relevant and standing(query) in UNNAMED
            if known and query.source in WHOLE_SETS | WRITTEN:
                for scope in filter(None, (query.catalogue, POOL)):
                    found.append(await _asked(bench, query, scope, reranker))
        return found, material.twins


async def _asked(bench: Bench, query: Query, scope: str, reranker: Reranker) -> Asked:
    candidates = fuse(bench.arms(query.text, scope), bench.policy.arm_weights, DEPTH)
    async with read(bench.parts.engine) as connection:
        versions = await store.versions(connection, [each.row for each in candidates])
    rows = [versions[each.row] for each in candidates]
    documents = [document_of(each.name, each.description, each.body) for each in rows]
    return Asked(
        query=query,
        scope=scope,
        places=[bench.places[each.row] for each in candidates],
        standings=[Standing.of(each) for each in candidates],
        documents=documents,
        costs=reranker.cost(query.text, documents),
    )


def tables(asked: Sequence[Asked], twins: Twins, reranker: Reranker, scale: Scale) -> Iterator[str]:
    """One table for each question, as Markdown."""
    logits = [scores(reranker, each, each.documents) for each in asked]
    yield from _head("weight of the logit")
    for weight in WEIGHTS:
        of_weight = scale.model_copy(update={"rerank_weight": weight, "enough": None})
        yield _line(f"{weight:g}", asked, twins, logits, of_weight, SERVED)
    yield from _head("depth")
    everything = scale.model_copy(update={"enough": None})
    for depth in DEPTHS:
        yield _line(str(depth), asked, twins, logits, everything, depth)
    yield from _head(f"what is read, depth {SERVED}")
    for name, change in INPUTS.items():
        read_so = [
            scores(reranker, each, [change(document) for document in each.documents[:SERVED]])
            for each in asked
        ]
        yield _line(name, asked, twins, read_so, everything, SERVED)
    yield from _head("score needed, to stop at")
    for lead in LEADS:
        stopping = scale.model_copy(update={"enough": lead})
        yield _line(str(lead), asked, twins, logits, stopping, SERVED)


def scores(reranker: Reranker, each: Asked, documents: Sequence[Document]) -> Scores:
    """The scores of the first candidates, a chunk more each time."""
    counts = [*range(CHUNK, len(documents), CHUNK), len(documents)]

    def of_first(count: int) -> list[float]:
        return reranker.score(each.query.text, documents[:count], each.standings[:count])

    if reranker.listwise:
        return {count: of_first(count) for count in counts}
    every = of_first(len(documents))
    return {count: every[:count] for count in counts}


def _head(what: str) -> Iterator[str]:
    parts = ("within", "pool", *sorted(WHOLE_SETS), "tasks", "requests")
    columns = [f"{part} Hit@1 / MRR@10" for part in parts]
    columns += ["pool Recall@10", "tasks Coverage@10", "pairs", "tokens"]
    yield ""
    yield f"| {what} | {' | '.join(columns)} |"
    yield f"|---{'|---:' * len(columns)}|"


def _line(
    label: str,
    asked: Sequence[Asked],
    twins: Twins,
    logits: Sequence[Scores],
    scale: Scale,
    depth: int,
) -> str:
    ranked = [_ranked(each, found, scale, depth) for each, found in zip(asked, logits, strict=True)]
    values = _values(asked, [places for places, _ in ranked], twins)

    def cell(sources: Sequence[str], pool: bool, *metrics: str) -> str:
        means = []
        for metric in metrics:
            found = [values[source, pool, metric] for source in sources]
            means.append(f"{np.mean(found):.3f}".removeprefix("0"))
        return " / ".join(means)

    both = METRICS[:2]
    whole = sorted(WHOLE_SETS)
    cells = [
        cell(whole, False, *both),
        cell(whole, True, *both),
        *(cell([source], False, *both) for source in whole),
        cell([TASKS], True, *both),
        cell([REQUESTS], True, *both),
        cell(whole, True, "Recall@10"),
        cell([TASKS], True, "Coverage@10"),
        f"{np.mean([count for _, count in ranked]):.1f}",
        f"{np.mean([_spent(each, n) for each, (_, n) in zip(asked, ranked, strict=True)]):.0f}",
    ]
    return f"| {label} | {' | '.join(cells)} |"


def _ranked(each: Asked, logits: Scores, scale: Scale, depth: int) -> tuple[list[Place], int]:
    """The places as the router orders them, and how many were scored."""
    counts = [count for count in logits if count <= depth]
    fused = [standing.fused for standing in each.standings]
    count = next(
        (
            end
            for end in counts[:-1]
            if settled(list(zip(fused, logits[end], strict=False)), fused[end], scale)
        ),
        counts[-1],
    )
    found = [mixed(*pair, scale.rerank_weight) for pair in zip(fused, logits[count], strict=False)]
    first = sorted(range(count), key=lambda n: -found[n])
    return [each.places[n] for n in (*first, *range(count, len(each.places)))], count


def _spent(each: Asked, count: int) -> int:
    return sum(each.costs[:count])


def _values(
    asked: Sequence[Asked], ranked: Sequence[Sequence[Place]], twins: Twins
) -> Mapping[tuple[str, bool, str], float]:
    """The mean of each metric by set, and whether over the pool."""
    runs: dict[str, dict[str, Ranking]] = defaultdict(dict)
    queries: dict[tuple[str, str], list[Query]] = defaultdict(list)
    for each, places in zip(asked, ranked, strict=True):
        found = Ranking(places=tuple(places), scores=(), latency_ms=0.0)
        runs[each.scope][each.query.qid] = found
        queries[each.query.source, each.scope].append(each.query)
    values = {}
    for (source, scope), of_cell in queries.items():
        run = Run(system="reranked", scope=scope, rankings=runs[scope])
        by_metric = score(of_cell, run, twins).by_metric
        for metric in METRICS:
            if of_metric := by_metric.get(metric):
                values[source, scope == POOL, metric] = float(np.mean(list(of_metric.values())))
    return values


if __name__ == "__main__":
    main()
