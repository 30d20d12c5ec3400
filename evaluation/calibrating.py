"""Calibration of one catalogue: the promises that hold there, whatever the policy was fitted on.

Without labels the catalogue is asked what it must not load for: background queries, and its own
skills in the words of their descriptions while they are hidden, so that the best of their siblings
answers. How near that comes to its users' tasks is measured in docs/decisions/0017.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path

from app.settings import AppSettings
from core import store
from core.background import BACKGROUND_QUERIES
from core.db import read
from core.errors import NotFoundError
from core.text import without_exclusions
from core.types import SkillVersion
from evaluation.confusable import masked
from evaluation.datasets import DatasetError
from evaluation.fitting import OnStep, as_rows, observe_all, usable, ways_to_score
from evaluation.observations import Observation, Observer
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

SIBLINGS = "own skills hidden"

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


async def calibrate(
    settings: AppSettings, catalogue: str | None, file: Path | None, *, on_step: OnStep
) -> Policy:
    """The policy in force with promises for a catalogue, or for everything that is indexed.

    They rest on the owner's labelled rows in `file`, or on what the catalogue itself gives. Every
    way to score an answer gets its own. Raises NotFoundError for an unknown catalogue and
    DatasetError where the rows are too few or not usable.
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
            seen += way.named(await observe_all(observer, queries, [catalogue or POOL], on_step))
    return calibrated(seen, load_policy(settings.policy_file), catalogue)


def calibrated(
    observations: Sequence[Observation], policy: Policy, catalogue: str | None
) -> Policy:
    """The policy with the promises that these observations show. Raises DatasetError where none
    of them is useless."""
    rows = [each for each in usable(observations) if not each.useful]
    if not rows:
        raise DatasetError("No row shows what must not be loaded for.")
    scales = {}
    for scored_by in sorted({each.scored_by for each in rows}):
        scale = policy.scale(scored_by)
        own = _own([each for each in rows if each.scored_by == scored_by], scale)
        kept = {**scale.catalogues, catalogue or EVERYTHING: own}
        scales[scored_by] = scale.model_copy(update={"catalogues": kept})
    return with_scales(policy, scales)


def _own(useless: Sequence[Observation], scale: Scale) -> OwnCalibration:
    # Each kind of row by itself, since nobody knows in which shares they will come.
    rows = replace(as_rows(useless), groups=tuple(each.source for each in useless))
    kinds = Counter((each.source, each.condition.value) for each in useless)
    named = ", ".join(f"{source} {kind} {n}" for (source, kind), n in sorted(kinds.items()))
    return OwnCalibration(
        calibration=f"{len(useless):,} rows of its own: {named}; {date.today().isoformat()}",
        negatives=named,
        false_load=promises(rows, predict(rows, scale)),
        encoder=useless[0].around.encoder,
    )


def _places(bench: Bench, catalogue: str | None) -> list[Place]:
    found = [place for place in bench.rows if catalogue in (None, catalogue_of(place))]
    if not found:
        known = ", ".join(sorted(set(map(catalogue_of, bench.rows)))[:20])
        raise NotFoundError(
            f"There is no catalogue {catalogue!r} with skills. There are {known or 'none yet'}."
        )
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
    background = [_query(text, "background", catalogue) for text in BACKGROUND_QUERIES]
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
