"""Passages: how many of a skill are embedded, how long, and how they combine, for which tokens.

python -m benchmarks.tuning.passages --data ../data --cache /tmp/tuning
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.rows import WITHIN
from benchmarks.tuning.texts import (
    OTHERS,
    Pieces,
    packed,
    routing,
    triggers_and_body,
)
from benchmarks.tuning.trial import (
    CATALOGUES,
    SIZE,
    WEAK,
    Bench,
    Judge,
    Outcome,
    Similarities,
    VectorStore,
    by_skill,
    hundredths,
    load_bench,
    points,
)
from core.types import SkillDraft, Vectors
from evaluation.types import POOL, Split

_WORD = re.compile(r"\w+")

LATE = 100  # skills that are scored anew by all their passages


@dataclass(frozen=True, eq=False)
class Embedded:
    """The vectors of all skills: `owner` says whose each is, `routing` which are routing texts."""

    vectors: Vectors
    owner: NDArray[np.intp]
    routing: NDArray[np.bool_]
    tokens: float  # a skill

    @property
    def per_skill(self) -> float:
        """Vectors of a skill."""
        return len(self.vectors) / (int(self.owner[-1]) + 1)


def embed(bench: Bench, store: VectorStore, pieces: Pieces) -> Embedded:
    """Every skill's pieces as vectors."""
    texts, owner, routing = [], [], []
    for number, draft in enumerate(bench.drafts):
        for place, piece in enumerate(pieces(draft)):
            texts.append(piece)
            owner.append(number)
            routing.append(place == 0)
    return Embedded(
        vectors=store.vectors(texts),
        owner=np.array(owner),
        routing=np.array(routing),
        tokens=store.tokens(texts) / len(bench.drafts),
    )


def normalised(vectors: Vectors) -> Vectors:
    """Each row at length 1."""
    length: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return length


def best(queries: Vectors, vectors: Vectors, owner: NDArray[np.intp], skills: int) -> Similarities:
    """Of every query to the nearest vector of every skill; -1 where it has none."""
    found = np.full((len(queries), skills), -1.0, dtype=np.float32)
    owners, starts = np.unique(owner, return_index=True)
    for start in range(0, len(queries), 256):
        part = queries[start : start + 256] @ vectors.T
        found[start : start + 256, owners] = np.maximum.reduceat(part, starts, axis=1)
    return found


def means(embedded: Embedded, weight: NDArray[np.float32]) -> tuple[Vectors, NDArray[np.intp]]:
    """One vector per owner: the weighted sum of its vectors at length 1."""
    kept = weight > 0
    owners, starts = np.unique(embedded.owner[kept], return_index=True)
    summed = np.add.reduceat(embedded.vectors[kept] * weight[kept, None], starts, axis=0)
    return normalised(summed), owners


def one_vector(embedded: Embedded, share: float) -> Embedded:
    """One vector a skill: its routing vector by `share`, its body vectors by the rest."""
    bodies = np.bincount(embedded.owner, weights=~embedded.routing)[embedded.owner]
    weight = np.where(embedded.routing, share, (1 - share) / np.maximum(bodies, 1))
    vectors, owner = means(embedded, weight.astype(np.float32))
    return replace(embedded, vectors=vectors, owner=owner, routing=np.ones(len(owner), np.bool_))


def two_vectors(embedded: Embedded) -> Embedded:
    """The routing vector, and the mean of the body vectors."""
    bodies, owner = means(embedded, (~embedded.routing).astype(np.float32))
    routing = embedded.routing
    owners = np.concatenate([embedded.owner[routing], owner])
    order = np.argsort(owners, kind="stable")
    return replace(
        embedded,
        vectors=np.concatenate([embedded.vectors[routing], bodies])[order],
        owner=owners[order],
        routing=np.repeat([True, False], [routing.sum(), len(owner)])[order],
    )


def centred(vectors: Vectors, background: Vectors, directions: int) -> Vectors:
    """Without the background's mean and its first principal directions (Mu, Viswanath 2018)."""
    mean = background.mean(axis=0)
    _, _, axes = np.linalg.svd(background - mean, full_matrices=False)
    moved = vectors - mean
    return normalised(moved - moved @ axes[:directions].T @ axes[:directions])


class Trials:
    """Runs trials one by one and prints each as a row of the table, the first as the present."""

    def __init__(self, judge: Judge, queries: Vectors) -> None:
        self.judge = judge
        self.queries = queries
        self._by_skill = Judge(by_skill(judge.bench), words=judge.words)
        self._present: Outcome | None = None

    def head(self) -> None:
        """Print the table's head."""
        print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")

    def of(self, name: str, embedded: Embedded) -> None:
        """A skill counts by its nearest vector."""
        self.show(name, self.nearest(embedded), embedded)

    def nearest(self, embedded: Embedded) -> Similarities:
        """Of every query to every skill."""
        skills = len(self.judge.bench.drafts)
        return best(self.queries, embedded.vectors, embedded.owner, skills)

    def show(
        self,
        name: str,
        similarities: Similarities,
        embedded: Embedded,
        inside: Similarities | None = None,
    ) -> None:
        """Score and print; the differences are of MRR@10, fused, to the first trial."""
        judge = self.judge
        outcome = judge.outcome(
            name,
            similarities,
            inside=inside,
            tokens=embedded.tokens,
            vectors=embedded.per_skill,
        )
        present = self._present = self._present or outcome
        fields = [name, f"{outcome.tokens:.0f}", f"{outcome.vectors:.1f}"]
        for scope in (CATALOGUES, POOL):
            rows = judge.chosen()
            fields.append(points(judge.mean(outcome, "dense", scope, "Hit@1", rows)))
            fields += [
                points(judge.mean(outcome, "fused", scope, metric, rows)) for metric in METRICS
            ]
            fields.append(hundredths(judge.gain(outcome, present, "fused", scope, "MRR@10", rows)))
            for split in (Split.TRAIN, Split.CALIBRATION):
                part = judge.chosen(split=split)
                gain = judge.gain(outcome, present, "fused", scope, "MRR@10", part)
                fields.append(f"{100 * gain.mean:+.1f}")
        weak = judge.chosen(WEAK)
        fields += [
            points(judge.mean(outcome, arm, POOL, "MRR@10", weak)) for arm in ("dense", "fused")
        ]
        fields.append(
            hundredths(self._by_skill.gain(outcome, present, "fused", POOL, "MRR@10", weak))
        )
        print(f"| {' | '.join(fields)} |", flush=True)


METRICS = ("Hit@1", "MRR@10", "Recall@10")
_SCOPE = ("dense Hit@1", "fused Hit@1", "MRR@10", "R@10", "against present", "train", "calibr.")
HEAD = (
    "passages",
    "tokens",
    "vectors",
    *(f"within: {_SCOPE[0]}", *_SCOPE[1:]),
    *(f"pool: {_SCOPE[0]}", *_SCOPE[1:]),
    *("weak: dense MRR@10", "fused", "against present"),
)


def every_trial(bench: Bench, cache: Path, weight: float | None) -> None:
    """Print the table of every trial."""
    store = VectorStore(cache)
    trials = Trials(
        Judge(bench, weight=weight), store.vectors([query.text for query in bench.queries])
    )
    trials.head()
    present = embed(bench, store, packed(1, 600))
    trials.of("routing + 600 (present)", present)
    trials.of("routing", embed(bench, store, routing))
    combine(trials, present)
    centre(trials, present)
    for bodies in (3, 6):
        more = embed(bench, store, packed(bodies, 600))
        trials.of(f"routing + {bodies} x 600", more)
        trials.of("- one vector, .6 routing", one_vector(more, 0.6))
        trials.of("- two vectors: routing, mean of bodies", two_vectors(more))
        late(trials, present, more, bodies)
    for name, pieces in OTHERS.items():
        embedded = embed(bench, store, pieces)
        trials.of(name, embedded)
        if pieces is triggers_and_body:
            trials.of("- one vector, .5 routing", one_vector(embedded, 0.5))
            trials.of("- two vectors: routing, mean of the others", two_vectors(embedded))
    wide = VectorStore(cache, 256)
    for chars in (600, 1_000):
        trials.of(f"routing + {chars}, window 256", embed(bench, wide, packed(1, chars)))


def unsaid(bench: Bench) -> Bench:
    """The bench less the queries that are a trigger of their skill, word for word or nearly.

    A fifth of the salesforce rows is; an index of triggers then holds the question itself.
    """
    drafts = dict(zip(bench.places, bench.drafts, strict=True))
    queries = (q for q in bench.queries if not _says(drafts.get(q.relevant[0]), q.text))
    return replace(bench, queries=tuple(queries))


def _says(draft: SkillDraft | None, query: str) -> bool:
    asked = set(_WORD.findall(query.casefold()))
    if draft is None or not asked:
        return False
    triggers = (set(_WORD.findall(trigger.casefold())) for trigger in draft.triggers)
    return any(
        asked <= words or len(asked & words) > 0.6 * len(asked | words) for words in triggers
    )


def describe(bench: Bench, cache: Path) -> None:
    """Print how often the window cuts the routing text, and a task is a trigger word for word."""
    counter = VectorStore(cache).embedder
    counts = np.array(counter.count_tokens([routing(draft)[0] for draft in bench.drafts]))
    print("\nRouting texts longer than the window:")
    for name, mask in (("all", None), *bench.masks(CATALOGUES).items()):
        print(f"- {name}: {np.mean(counts[mask] > counter.space.max_tokens - 2):.0%}")
    drafts = dict(zip(bench.places, bench.drafts, strict=True))
    print("\nTasks that stand word for word among the triggers of their skill:")
    for source in (*WITHIN, *WEAK):
        tasks = [query for query in bench.queries if query.source == source]
        said = [_plain(q.text) in _plain(" ".join(drafts[q.relevant[0]].triggers)) for q in tasks]
        print(f"- {source}: {np.mean(said):.0%}")


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def without_said(bench: Bench, cache: Path, weight: float | None) -> None:
    """Print the table of the trials that differ by their triggers, over the `unsaid` rows."""
    store, rest = VectorStore(cache), unsaid(bench)
    left = {source: sum(q.source == source for q in rest.queries) for source in (*WITHIN, *WEAK)}
    print(f"\nWithout tasks that are a trigger of their own skill: {left}\n")
    trials = Trials(Judge(rest, weight=weight), store.vectors([q.text for q in rest.queries]))
    trials.head()
    trials.of("routing + 600 (present)", embed(rest, store, packed(1, 600)))
    for name, pieces in OTHERS.items():
        if "trigger" in name:
            trials.of(name, embed(rest, store, pieces))


def combine(trials: Trials, embedded: Embedded) -> None:
    """Other ways to make one score of the same two vectors."""
    for share in (0.4, 0.5, 0.6, 0.7):
        trials.of(f"- one vector, {share:g} routing", one_vector(embedded, share))
    routing = trials.nearest(_part(embedded, embedded.routing))
    body = trials.nearest(_part(embedded, ~embedded.routing))
    body = np.where(body < 0, routing, body)  # a skill without a body
    for share in (0.3, 0.5, 0.7):
        summed = share * routing + (1 - share) * body
        trials.show(f"- sum, {share:g} routing", summed, embedded)


def centre(trials: Trials, embedded: Embedded) -> None:
    """Passages and queries without the passages' mean and main directions."""
    before = trials.queries
    for directions in (0, 1, 3):
        trials.queries = centred(before, embedded.vectors, directions)
        moved = centred(embedded.vectors, embedded.vectors, directions)
        name = f"- less the mean and {directions} directions"
        trials.of(name, replace(embedded, vectors=moved))
    trials.queries = before


def late(trials: Trials, first: Embedded, more: Embedded, bodies: int) -> None:
    """The best LATE skills of a scope by `first`, ordered anew by `more` before the others."""
    early, anew = trials.nearest(first), trials.nearest(more)
    bench = trials.judge.bench
    masks = bench.masks(CATALOGUES)
    everything = np.ones(len(bench.places), dtype=np.bool_)
    own = np.array([masks.get(str(query.catalogue), everything) for query in bench.queries])
    trials.show(
        f"- the best {LATE} of the present anew by {bodies} bodies",
        _anew(early, anew),
        more,
        inside=_anew(np.where(own, early, -1), anew),
    )


def _anew(early: Similarities, anew: Similarities) -> Similarities:
    bar = -np.partition(-early, LATE, axis=1)[:, LATE - 1 : LATE]
    return np.where(early >= bar, anew, early - 1)


def _part(embedded: Embedded, kept: NDArray[np.bool_]) -> Embedded:
    return replace(
        embedded,
        vectors=embedded.vectors[kept],
        owner=embedded.owner[kept],
        routing=embedded.routing[kept],
    )


def main() -> None:
    """Read the command line and run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    arguments.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    arguments.add_argument("--size", type=int, default=SIZE, help="skills in the pool")
    arguments.add_argument("--weight", type=float, help="of the dense arm, for the policy's")
    options = arguments.parse_args()
    bench = load_bench(options.data, options.cache, options.size)
    every_trial(bench, options.cache, options.weight)
    describe(bench, options.cache)
    without_said(bench, options.cache, options.weight)


if __name__ == "__main__":
    main()
