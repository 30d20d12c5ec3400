"""Fitting a policy on what the router saw: ours on labelled rows, an operator's on their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.routing.second_stage import PARTIAL
from app.settings import AppSettings
from core.errors import RerankerFailedError
from evaluation.datasets import METATOOL, Labelled, Skills
from evaluation.observations import Observation, Observer
from evaluation.prepare import WHOLE_SETS, Prepared, labelled_material
from evaluation.split import leave_one_catalogue_out
from evaluation.systems import open_bench
from evaluation.types import POOL, Query, Split
from reranker.learn.fit_policy import (
    CrossFit,
    Rows,
    covering,
    cross_fit,
    fit_calibrated,
    rows_of,
    with_scales,
)
from reranker.policy import FALLBACK, Policy, load_policy

NO_TOOL = "no-tool"
"""MetaTool's requests that need no tool, asked of every whole catalogue: they need none of its
skills either. Each is tied to its own text, so it stays in its split."""

WITHIN = WHOLE_SETS | {"nvidia-none", "metatool-awareness", "metatool-reliability", NO_TOOL}
"""Sets whose catalogue is indexed whole, so that decisions within it mean something."""

MAY_TRAIN = frozenset(
    {
        "MIT",
        "MIT-0",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "CC0-1.0",
        "CC-BY-4.0",
        "Unlicense",
    }
)
"""Licences of skills whose rows may shape weights that are handed on."""

UNHURRIED_S = 600.0
"""The second stage's deadline while answers are observed: it only ends what hangs."""

OnStep = Callable[[str], None]


async def observe_all(
    observer: Observer, queries: Sequence[Query], scopes: Sequence[str], on_step: OnStep
) -> list[Observation]:
    found: list[Observation] = []
    for scope in scopes:
        asked = [query for query in queries if scope in (POOL, query.catalogue)]
        on_step(f"decisions over {scope}: {len(asked)} queries")
        found += await observer.observe(asked, scope)
    return found


def catalogues_of(queries: Sequence[Query]) -> list[str]:
    return sorted({query.catalogue for query in queries if query.catalogue})


def scopes_of(queries: Sequence[Query]) -> list[str]:
    """Each catalogue by itself, and all of them."""
    return [*catalogues_of(queries), POOL]


def within_catalogues(queries: Sequence[Query]) -> list[Query]:
    """The rows whose catalogue is indexed whole, and the requests that need no tool in each."""
    inside = [query for query in queries if query.source in WITHIN]
    holders = catalogues_of([query for query in inside if query.source in WHOLE_SETS])
    needless = [
        query for query in inside if query.source == "metatool-awareness" and not query.relevant
    ]
    return inside + [
        replace(query, catalogue=catalogue, source=NO_TOOL)
        for catalogue in holders
        for query in needless
    ]


def fitting_queries(labelled: Labelled) -> list[Query]:
    """The train and calibration rows that decisions are fitted on: of whole catalogues."""
    rows = within_catalogues(labelled.queries)
    return [query for query in rows if query.split is not Split.TEST]


def usable(observations: Sequence[Observation]) -> list[Observation]:
    """Those that a policy may be fitted on: checked rows whose answer holds a skill."""
    return [each for each in observations if each.skills and not each.weak]


def as_rows(observations: Sequence[Observation]) -> Rows:
    """Usable observations as the fit takes them."""
    return rows_of(
        [each.skills[0].features for each in observations],
        [each.useful for each in observations],
        [each.scope for each in observations],
    )


def fit(observations: Sequence[Observation], base: Policy) -> Policy:
    """The base policy with a scale for each reranker that the rows were scored by.

    Weights come from train rows, thresholds and promises from calibration rows. Raises
    ValueError where a reranker has none of either.
    """
    rows = [each for each in usable(observations) if each.split != Split.TEST]
    scales = {}
    for scored_by in sorted({each.scored_by for each in rows}):
        of_scale = [each for each in rows if each.scored_by == scored_by]
        train = [each for each in of_scale if each.split == Split.TRAIN]
        held = [each for each in of_scale if each.split == Split.CALIBRATION]
        scales[scored_by] = fit_calibrated(
            as_rows(train),
            as_rows(held),
            base.scale(scored_by),
            rows=_named(of_scale, "train and calibration"),
            negatives=_negatives(held),
        )
    return with_scales(base, scales, covering([each.around for each in rows]))


def fit_own(observations: Sequence[Observation], base: Policy) -> CrossFit:
    """A policy from an operator's few usable rows, cross-fitted. Raises ValueError as `fit`."""
    return cross_fit(
        as_rows(observations),
        [each.component for each in observations],
        base,
        scored_by=_one_scale(observations),
        calibration=_named(observations, f"own file, over {base.id}"),
        negatives=_negatives(observations),
        covers=covering([each.around for each in observations]),
    )


def _one_scale(observations: Sequence[Observation]) -> str:
    scales = {each.scored_by for each in observations}
    if len(scales) != 1:
        raise ValueError(f"rows of one reranker are needed, not of {len(scales)}")
    return scales.pop()


def _named(observations: Sequence[Observation], what: str) -> str:
    sources = ", ".join(sorted({each.source for each in observations}))
    today = date.today().isoformat()
    return f"{len(observations):,} rows: {sources}; {what}; half with a skill that helps; {today}"


def _negatives(observations: Sequence[Observation]) -> str:
    useless = [each for each in observations if not each.useful]
    kinds = Counter((each.group, each.condition.value) for each in useless)
    parts = ", ".join(f"{group} {kind} {n}" for (group, kind), n in sorted(kinds.items()))
    return f"{len(useless):,} useless rows: {parts}"


def may_train(query: Query, skills: Skills) -> bool:
    """Whether the licence of every skill of a row lets weights be fitted on it and shipped."""
    return all(
        place.startswith(f"{METATOOL}/") or skills[place].licence in MAY_TRAIN
        for place in query.relevant + query.withheld
    )


def without_each(
    observations: Sequence[Observation], labelled: Labelled, base: Policy
) -> Mapping[str, Policy]:
    """By catalogue, the policy fitted on the other catalogues' train and calibration rows."""
    queries = [query for query in labelled.queries if query.source in WITHIN]
    fitted = {}
    for fold in leave_one_catalogue_out(queries, labelled.assignment):
        qids = {query.qid for query in fold.fit}
        rows = [
            each
            for each in usable(observations)
            if each.qid in qids and each.scope != fold.catalogue
        ]
        if {each.split for each in rows} >= {Split.TRAIN, Split.CALIBRATION}:
            fitted[fold.catalogue] = fit(rows, base)
    return fitted


async def fit_data(prepared: Prepared, settings: AppSettings, *, on_step: OnStep) -> Policy:
    """The policy of the labelled rows, over the index in `settings.data_dir`.

    Every way to score an answer gets a scale: the reranker, what it scored of the first chunk
    alone, and word overlap. Only rows whose skills' licences permit it shape the weights. Raises
    LoadstarError where the index is not that of the pool.
    """
    queries = [
        query for query in fitting_queries(prepared.labelled) if may_train(query, prepared.skills)
    ]
    seen: list[Observation] = []
    for way in ways_to_score(settings):
        on_step(f"scored by {way.name}")
        async with open_bench(way.settings, apart=frozenset({METATOOL})) as bench:
            material = labelled_material(bench, prepared, Split.TRAIN)
            observer = Observer(bench, material.twins, material.clusters)
            found = await observe_all(observer, queries, scopes_of(queries), on_step)
            seen += way.named(found)
    return fit(seen, load_policy(settings.policy_file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to score an answer, as a server with these settings would."""

    settings: AppSettings
    partial: bool = False  # as if the deadline had come after the first chunk

    @property
    def name(self) -> str:
        """What `scored_by` says."""
        return self.settings.reranker + PARTIAL * self.partial

    def named(self, observations: Sequence[Observation]) -> list[Observation]:
        """The observations as scored in this way.

        Raises RerankerFailedError where a model failed, so that one was scored in another way:
        its row would count for a scale that it is not of.
        """
        by_words = self.settings.reranker == FALLBACK
        other = [
            each
            for each in observations
            if (each.scored_by == FALLBACK) != by_words or each.scored_by.endswith(PARTIAL)
        ]
        if other:
            raise RerankerFailedError(
                f"{self.settings.reranker} gave no scores for {len(other)} of "
                f"{len(observations)} answers, so that nothing can be said of those it does "
                "score. `loadstar doctor` checks its file."
            )
        if not self.partial:
            return list(observations)
        return [replace(each, scored_by=each.scored_by + PARTIAL) for each in observations]


def ways_to_score(settings: AppSettings) -> list[Way]:
    """By the reranker of the settings, by it with one token to spend (so one chunk), and by
    words. None of them has a deadline: a late answer is of another scale."""
    if settings.reranker == FALLBACK:
        return [Way(settings=settings)]
    settings = settings.model_copy(update={"rerank_deadline_s": UNHURRIED_S})
    return [
        Way(settings=settings),
        Way(settings=settings.model_copy(update={"rerank_tokens": 1}), partial=True),
        Way(settings=settings.model_copy(update={"reranker": FALLBACK})),
    ]
