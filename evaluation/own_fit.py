"""An operator's own fit: a policy refitted on a few own rows, and what that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.settings import AppSettings
from evaluation.datasets import DatasetError
from evaluation.decision_metrics import DecisionReport, report
from evaluation.decisions import judge
from evaluation.fitting import OnStep, fit_own, observe_all, usable
from evaluation.observations import Condition, Observation, Observer
from evaluation.prepare import own_material
from evaluation.systems import open_bench
from evaluation.types import POOL
from reranker.learn.fit_policy import FOLDS, smallest_promise
from reranker.policy import Policy

USUAL_PROMISE = 0.1
FEWEST_PER_FOLD = 2
FEW_USEFUL = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFit:
    """A refitted policy beside the one that it started from, on the same rows."""

    policy: Policy  # fitted on all rows
    base: Policy
    before: DecisionReport  # of the base policy
    after: DecisionReport  # each row judged by a policy fitted without its fold
    warnings: tuple[str, ...]


async def fit_own_file(file: Path, settings: AppSettings, *, on_step: OnStep) -> OwnFit:
    """Refit the policy in force on a file of own rows, over everything that is indexed.

    Raises LoadstarError where the file or the index is not usable, or the rows are too few.
    """
    async with open_bench(settings) as bench:
        material = await own_material(bench, file)
        observer = Observer(bench, material.twins, material.clusters)
        seen = await observe_all(observer, material.queries, [POOL], on_step)
        return refit(seen, bench.policy)


def refit(observations: Sequence[Observation], base: Policy) -> OwnFit:
    """The refit of observed rows. Raises DatasetError where they cannot be parted in folds."""
    rows = usable(observations)
    parts = {each.component for each in rows if each.useful}
    if len(parts) < FEWEST_PER_FOLD * FOLDS:
        raise DatasetError(
            f"Rows for {len(parts)} different skills are too few to fit on and to check the fit: "
            f"{FEWEST_PER_FOLD * FOLDS} is the least, some 50 rows give a useful answer."
        )
    fitted = fit_own(rows, base)
    before = [judge(each, base) for each in rows]
    after = [
        judge(each, fitted.without[fold])
        for each, fold in zip(rows, fitted.fold.tolist(), strict=True)
    ]
    clusters = [each.component for each in rows]
    return OwnFit(
        policy=fitted.policy,
        base=base,
        before=report(before, clusters=clusters),
        after=report(after, clusters=clusters),
        warnings=tuple(_warnings(rows)),
    )


def _warnings(rows: Sequence[Observation]) -> list[str]:
    useful = sum(each.useful for each in rows)
    useless = len(rows) - useful
    null = sum(each.condition is Condition.NEGATIVE for each in rows)
    found = []
    if useful < FEW_USEFUL:
        found.append(f"Only {useful} rows name a skill: the figures below may be off by a lot.")
    if (strictest := smallest_promise(useless)) > USUAL_PROMISE:
        found.append(
            f"max_false_load={USUAL_PROMISE:g} needs at least 9 rows where nothing should load, "
            f"and there are {useless}: the strictest promise is {strictest:.2g}. A request that "
            "asks for a stricter one is answered with `consider` at best."
        )
    if smallest_promise(null) > USUAL_PROMISE:
        found.append(
            f"{null} rows expect null. So max_false_load rests mostly on tasks whose right skill "
            "was hidden, which are harder to refuse than tasks that need no skill: expect to load "
            "less than you could. Nine null rows or more make it fit your traffic better."
        )
    return found
