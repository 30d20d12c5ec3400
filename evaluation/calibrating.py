"""Calibration of one catalogue: the promises that hold there, whatever the policy was fitted on.

Without labels the catalogue is asked what it must not load for: background queries, and its own
skills in the words of their descriptions while they are hidden, so that the best of their siblings
answers. How near that comes to its users' tasks is measured in docs/decisions/0017.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path

from app.routing.second_stage import PARTIAL
from app.settings import AppSettings
from core import store
from core.background import BACKGROUND_QUERIES
from core.db import read
from core.errors import NotFoundError
from core.text import without_exclusions
from core.types import Filters, SkillVersion
from evaluation.confusable import masked
from evaluation.datasets import DatasetError
from evaluation.fitting import OnStep, as_rows, observe_all, usable, ways_to_score
from evaluation.observations import Condition, Observation, Observer
from evaluation.own_queries import read_own_queries
from evaluation.systems import Bench, open_bench
from evaluation.types import POOL, Place, Query, Split, catalogue_of
from reranker.learn.fit_policy import predict, promises, with_scales
from reranker.policy import EVERYTHING, OwnCalibration, Policy, Scale, load_policy

OWN_SKILLS = 150
"""That are hidden and asked for at most: they can show a promise of .01."""

FEWEST_LABELLED = 50

ASKED_WORDS = 30
"""Of a description's first sentence: users' tasks are no longer."""

BACKGROUND, SIBLINGS = "background queries", "own skills"

KINDS: Mapping[Condition, str] = {
    Condition.NEGATIVE: "no skill expected",
    Condition.REMOVED: "right skill hidden",
    Condition.WITHHELD: "right skill withheld",
}
"""Of rows that show what must not be loaded for."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A policy with new promises, and where they hold."""

    policy: Policy
    catalogue: str  # or EVERYTHING
    own: Mapping[str, OwnCalibration]  # the new ones, by `scored_by`


async def calibrate(
    settings: AppSettings, catalogue: str | None, file: Path | None, *, on_step: OnStep
) -> Calibrated:
    """The policy in force with promises for a catalogue, or for everything that is indexed.

    They rest on the owner's labelled rows in `file`, or on what the catalogue itself gives. Every
    way to score an answer gets its own. Raises NotFoundError for an unknown catalogue,
    DatasetError where the rows are too few or not usable, and RerankerFailedError where the
    reranker gives no scores.
    """
    seen: list[Observation] = []
    for way in ways_to_score(settings):
        on_step(f"scored by {way.name}")
        async with open_bench(way.settings) as bench:
            places = _places(bench, catalogue)
            queries = (
                _labelled(file, places, catalogue)
                if file
                else await _own_texts(bench, places, catalogue)
            )
            observer = Observer(bench, {}, {})
            found = way.named(await observe_all(observer, queries, [catalogue or POOL], on_step))
            if not file and not any(each.source == SIBLINGS for each in _useless(found)):
                raise DatasetError(
                    "No skill says enough of itself, or has others beside it, so that background "
                    "queries alone would be asked. Calibrate with rows of your own: --queries."
                )
            seen += found
            # Where there is one catalogue only, every task is routed within it.
            where = catalogue or bench.snapshot.view.only_catalogue(Filters()) or EVERYTHING
    return calibrated(seen, load_policy(settings.policy_file), where)


def calibrated(observations: Sequence[Observation], policy: Policy, catalogue: str) -> Calibrated:
    """The policy with the promises that these observations show in a catalogue, or EVERYTHING.

    Raises DatasetError where none of them is useless.
    """
    rows = _useless(observations)
    if not rows:
        raise DatasetError("No row shows what must not be loaded for.")
    own = {
        scored_by: _own([each for each in rows if each.scored_by == scored_by], scale)
        for scored_by in sorted({each.scored_by for each in rows})
        if _ordered_alike(scale := policy.scale(scored_by), scored_by, policy)
    }
    scales = {}
    for scored_by, found in own.items():
        scale = policy.scale(scored_by)
        kept = {**scale.catalogues, catalogue: found}
        scales[scored_by] = scale.model_copy(update={"catalogues": kept})
    return Calibrated(policy=with_scales(policy, scales), catalogue=catalogue, own=own)


def _useless(observations: Sequence[Observation]) -> list[Observation]:
    return [each for each in usable(observations) if not each.useful]


def _ordered_alike(scale: Scale, scored_by: str, policy: Policy) -> bool:
    """Whether answers are ordered by a scale as its rows were: partial ones are routed as if they
    were whole."""
    return scale.rerank_weight == policy.scale(scored_by.removesuffix(PARTIAL)).rerank_weight


def _own(useless: Sequence[Observation], scale: Scale) -> OwnCalibration:
    # Each kind of row by itself, since nobody knows in which shares they will come.
    kinds = tuple(f"{each.source} ({KINDS[each.condition]})" for each in useless)
    rows = replace(as_rows(useless), groups=kinds)
    named = ", ".join(f"{kind} {n}" for kind, n in sorted(Counter(kinds).items()))
    return OwnCalibration(
        calibration=f"{len(useless):,} rows of its own: {named}; {date.today().isoformat()}",
        negatives=named,
        false_load=promises(rows, predict(rows, scale)),
        encoder=useless[0].around.encoder,
        skills=max(each.around.skills for each in useless),
    )


def _places(bench: Bench, catalogue: str | None) -> list[Place]:
    if not bench.rows:
        raise NotFoundError("No skills are indexed yet: loadstar index FOLDER --catalogue …")
    found = [place for place in bench.rows if catalogue in (None, catalogue_of(place))]
    if not found:
        known = ", ".join(sorted(set(map(catalogue_of, bench.rows)))[:20])
        raise NotFoundError(f"There is no catalogue {catalogue!r} with skills. There are {known}.")
    return found


def _labelled(file: Path, places: Sequence[Place], catalogue: str | None) -> list[Query]:
    """The owner's rows; those that expect null are asked of this catalogue too."""
    queries = [
        query if query.relevant else replace(query, catalogue=catalogue)
        for query in read_own_queries(file, places)
    ]
    if len(queries) < FEWEST_LABELLED:
        raise DatasetError(
            f"{file}: {len(queries)} rows; a calibration takes {FEWEST_LABELLED} or more. "
            "Without --queries the catalogue's own texts calibrate it."
        )
    return queries


async def _own_texts(bench: Bench, places: Sequence[Place], catalogue: str | None) -> list[Query]:
    """Background queries, and skills that are asked for by what they say of themselves."""
    drawn = sorted(places, key=lambda place: sha256(place.encode()).digest())[:OWN_SKILLS]
    async with read(bench.parts.engine) as connection:
        versions = await store.versions(connection, [bench.rows[place] for place in drawn])
    by_own_words = [
        _query(text, SIBLINGS, catalogue, (place,))
        for place in drawn
        if (text := own_words(versions[bench.rows[place]]))
    ]
    background = [_query(text, BACKGROUND, catalogue) for text in BACKGROUND_QUERIES]
    return [*background, *by_own_words]


def own_words(version: SkillVersion) -> str:
    """What a skill says it does, without its name; "" where that is next to nothing."""
    kept = without_exclusions(version.description).strip()
    first = _SENTENCE_END.split(kept)[0]
    return " ".join(masked(first, version.name).split()[:ASKED_WORDS])


def _query(
    text: str, source: str, catalogue: str | None, relevant: tuple[Place, ...] = ()
) -> Query:
    return Query(
        qid=f"{source}-{sha256(text.encode()).hexdigest()[:16]}",
        text=text,
        relevant=relevant,
        catalogue=catalogue,
        source=source,
        split=Split.CALIBRATION,
    )
