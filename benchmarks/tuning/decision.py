"""Which features the confidence needs: all, all but one, and each alone, judged across folds.

Train and calibration rows only, each task within its catalogue: with its right skill there,
hidden or withheld, and requests that need no tool. Folds keep together what is tied together.

    python -m benchmarks.tuning.decision --data ../shared/data --data-dir .loadstar
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from app.settings import AppSettings
from core.settings import load_settings
from evaluation.datasets import METATOOL
from evaluation.decision_metrics import auroc
from evaluation.fitting import catalogues_of, fitting_queries, observe_all, usable
from evaluation.observations import Condition, Observation, Observer
from evaluation.prepare import labelled_material, read_verified
from evaluation.split import committed
from evaluation.systems import open_bench
from evaluation.types import Split
from reranker.decision import FEATURES
from reranker.learn.fit_policy import Floats, Rows, balance, fit_scale, predict, rows_of

FOLDS = 5
HARD = (Condition.PRESENT, Condition.REMOVED, Condition.WITHHELD)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled files")
    parser.add_argument("--data-dir", type=Path, required=True, help="as for loadstar eval")
    given = parser.parse_args()
    print(table(asyncio.run(observe(given.data, given.data_dir / "eval-quick"))))


async def observe(data: Path, data_dir: Path) -> list[Observation]:
    """What the router sees of the rows that a policy is fitted on."""
    prepared = read_verified(data, "quick", committed())
    settings = load_settings(AppSettings, data_dir=data_dir)
    async with open_bench(settings, apart=frozenset({METATOOL})) as bench:
        material = labelled_material(bench, prepared, Split.TRAIN)
        queries = fitting_queries(prepared.labelled)
        observer = Observer(bench, material.twins, material.clusters)
        return usable(await observe_all(observer, queries, catalogues_of(queries), print))


def table(observations: Sequence[Observation]) -> str:
    """A line for each set of features: AUROC and balanced accuracy by catalogue, out of fold."""
    catalogues = sorted({each.scope for each in observations})
    lines = [f"| features | {' | '.join(catalogues)} | mean | needless loads |"]
    lines.append("|---|" + "---:|" * (len(catalogues) + 2))
    names = tuple(FEATURES)
    for kept in (names, *combinations(names, len(names) - 1), *combinations(names, 1)):
        lines.append(_line(observations, kept, catalogues))
    return "\n".join(lines)


def _line(observations: Sequence[Observation], names: Sequence[str], catalogues: list[str]) -> str:
    p, loaded = _out_of_fold(observations, names)
    useful = np.array([each.useful for each in observations])
    scope = np.array([each.scope for each in observations])
    hard = np.array([each.condition in HARD for each in observations])
    cells, means = [], []
    for name in catalogues:
        here = hard & (scope == name)
        right = (loaded[here & useful].mean() + (~loaded[here & ~useful]).mean()) / 2
        means.append(right)
        cells.append(f"{auroc(p[here], useful[here]):.3f} / {right:.3f}")
    needless = loaded[~hard].mean()
    return f"| {', '.join(names)} | {' | '.join(cells)} | {np.mean(means):.3f} | {needless:.3f} |"


def _out_of_fold(
    observations: Sequence[Observation], names: Sequence[str]
) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Each row's probability, and whether it loads, by a fit on the other folds."""
    rows = rows_of(
        [each.skills[0].features for each in observations],
        [each.useful for each in observations],
        [each.scope for each in observations],
        names,
    )
    fold = np.array([_fold(each.component) for each in observations])
    p, loaded = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
    for number in range(FOLDS):
        here = fold == number
        rest = rows.part(~here)
        scale = fit_scale(rest)
        p[here] = predict(rows.part(here), scale)
        loaded[here] = p[here] >= separating_threshold(rest, predict(rest, scale))
    return p, loaded


def _fold(component: str) -> int:
    return hashlib.sha256(component.encode()).digest()[0] % FOLDS


def separating_threshold(rows: Rows, p: Floats) -> float:
    """The threshold with the best balanced accuracy over the groups; the middle of the best."""
    order = np.argsort(-p, kind="stable")
    weight = balance(rows)[order]
    sign = np.where(rows.useful[order], weight, -weight)
    gained = np.concatenate([[0.0], np.cumsum(sign)])  # by how many of the surest are loaded
    level = np.concatenate([[1.0], p[order], [0.0]])
    between = level[:-1] > level[1:]  # a threshold fits between different probabilities only
    best = int(np.argmax(np.where(between, gained, -np.inf)))
    return round(float(level[best] + level[best + 1]) / 2, 4)


if __name__ == "__main__":
    main()
