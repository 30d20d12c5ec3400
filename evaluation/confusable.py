"""Confusable skills: those of one catalogue that retrieval cannot tell apart, and by what.

Every skill is asked for in the words of its own description, its name taken out, as the first
stage searches: both arms, fused. No task can describe a skill better than that, so another skill
that comes first, or close behind, will come first for real tasks too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.routing.select import TWIN_AGREEMENT
from core import store
from core.background import BACKGROUND_QUERIES
from core.db import read
from core.embedding import Embedder
from core.errors import NotFoundError, SettingsError
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.fuse import fuse
from core.retrieval.generation import Generation
from core.retrieval.lexical import analyse, lexical_text
from core.retrieval.names import normalised
from core.retrieval.view import View
from core.tables import catalogues, skills
from core.text import spoken_name
from core.types import Filters, IndexRow, SkillVersion, Trust, Vector
from evaluation.types import Place

# Of the training and calibration queries for a skill of three labelled catalogues (29, 983 and
# 338 skills), the other skill of a pair stood above the right one for 19 % where the pair's margin
# was below 0.25 (107 queries), for 6 % between 0.25 and 0.5 (3,293), and for 0.2 % above (574,488).
MARGIN = 0.25

# In a mirror of other catalogues half of 8,849 skills hang together, each like the next: a chain
# as long as that says nothing about any two of its members.
MOST_MEMBERS = 12

# What "Skill: x" leaves without the name finds anything; a real one has three words.
FEWEST_WORDS = 3

DEPTH = 100  # skills that each arm returns, as for a route
NAMED = 20  # catalogues that an error lists
_BATCH = 256  # descriptions embedded at once: some 2 s of work between two reports

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A skill as the index holds it and as it was published."""

    row: IndexRow
    version: SkillVersion

    @property
    def place(self) -> Place:
        """Catalogue and path."""
        return f"{self.version.catalogue}/{self.version.path}".rstrip("/")

    @property
    def masked(self) -> str:
        """What the skill is asked for by: its description without its name."""
        return masked(self.version.description, self.version.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two skills that are hard to tell apart, and every way in which they are alike."""

    one: Place
    other: Place
    margin: float  # the smaller lead of either over the other, for its own description; 0 to 1
    cosine: float  # of their routing passages
    shared_words: float  # Jaccard index of the descriptions' words, stemmed
    shared_body: float  # estimated Jaccard index of the bodies' word triples
    same_name: bool

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the pair is listed: `outranked`, `near`, `same name`, `twin bodies`."""
        found = {
            "outranked": self.margin <= 0,
            "near": 0 < self.margin < MARGIN,
            "same name": self.same_name,
            "twin bodies": self.shared_body >= TWIN_AGREEMENT,
        }
        return tuple(reason for reason, holds in found.items() if holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A skill of a group, with the words of its description that no other member uses."""

    place: Place
    name: str
    own_words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Skills tied by pairs; the worst pair first."""

    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusable:
    """What a catalogue's operator should look at; the worst group first."""

    catalogue: str
    skills: int
    groups: tuple[Group, ...]
    pairs_left_out: int  # they would tie full groups together; they show once those are mended
    undescribed: tuple[Place, ...]  # next to nothing but a name tells what these do


async def read_catalogue(engine: AsyncEngine, catalogue: str, embedder: Embedder) -> list[Entry]:
    """Every skill of a catalogue that a route can see.

    Raises SettingsError for an empty name and NotFoundError where there is none of that name, both
    with the largest there are; SpaceMismatchError where vectors are missing.
    """
    async with read(engine) as connection:
        known = [found for found in await store.list_catalogues(connection) if found.skills]
        if not catalogue:
            raise SettingsError(f"Name a catalogue with --catalogue. {_listed(known)}")
        if catalogue not in {found.name for found in known}:
            raise NotFoundError(
                f"There is no catalogue {catalogue!r} with skills. {_listed(known)}"
            )
        live = select(skills.c.live_row).join(catalogues).where(catalogues.c.name == catalogue)
        live = live.where(skills.c.live_row.is_not(None))
        ids = [row for row in (await connection.execute(live)).scalars() if row is not None]
        rows = await store.index_rows(connection, ids, embedder.space)
        versions = await store.versions(connection, ids)
    return [
        Entry(row=row, version=versions[row.row])
        for row in rows
        if row.routable and row.trust >= Trust.UNREVIEWED
    ]


def _listed(known: Sequence[store.Catalogue]) -> str:
    if not known:
        return "There are none yet: `loadstar index` makes one."
    largest = sorted(known, key=lambda found: (-found.skills, found.name))
    names = ", ".join(f"{found.name} ({found.skills})" for found in largest[:NAMED])
    more = f" and {len(known) - NAMED:,} more" if len(known) > NAMED else ""
    return f"There are {names}{more}."


def confusable(
    catalogue: str,
    entries: Sequence[Entry],
    embedder: Embedder,
    arm_weights: Mapping[str, float],
    *,
    on_progress: OnProgress,
) -> Confusable:
    """Which skills of a catalogue cannot be told apart, the words weighed within it alone."""
    probes = {entry.row.row: entry.masked for entry in entries}
    described = [entry for entry in entries if probes[entry.row.row]]
    vectors = _embedded([probes[entry.row.row] for entry in described], embedder, on_progress)
    view = _view([entry.row for entry in entries], embedder)
    margins: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for entry, vector in zip(described, vectors, strict=True):
        own = entry.row.row
        for rival, margin in _margins(view, own, probes[own], vector, arm_weights).items():
            key = (min(own, rival), max(own, rival))
            margins[key] = min(margins[key], margin)
    alike = {pair for pair, margin in margins.items() if margin < MARGIN}
    alike |= _same_names(entries) | _twin_bodies(entries)
    by_row = {entry.row.row: entry for entry in entries}
    pairs = [_pair(by_row[one], by_row[other], margins[one, other]) for one, other in sorted(alike)]
    groups = _groups(pairs, {entry.place: entry for entry in entries})
    return Confusable(
        catalogue=catalogue,
        skills=len(entries),
        groups=tuple(groups),
        pairs_left_out=len(pairs) - sum(len(group.pairs) for group in groups),
        undescribed=tuple(sorted(e.place for e in entries if not probes[e.row.row])),
    )


def masked(description: str, name: str) -> str:
    """A description without the skill's name, however that is hyphenated.

    "" where fewer than `FEWEST_WORDS` are left, stop words aside.
    """
    words = r"[-_/.\s]+".join(re.escape(word) for word in spoken_name(name).split())
    bounded = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
    rest = " ".join(bounded.sub(" ", description).split())
    return rest if len(set(analyse(rest))) >= FEWEST_WORDS else ""


def _embedded(texts: Sequence[str], embedder: Embedder, on_progress: OnProgress) -> list[Vector]:
    vectors: list[Vector] = []
    for start in range(0, len(texts), _BATCH):
        vectors += list(embedder.embed(texts[start : start + _BATCH]))
        on_progress(len(vectors), len(texts))
    return vectors


def _view(rows: Sequence[IndexRow], embedder: Embedder) -> View:
    """A view of these rows alone."""
    empty = Generation.empty(embedder.space, embedder.embed(BACKGROUND_QUERIES))
    return View(empty, Delta.empty(empty).apply(rows, []))


def _margins(
    view: View, own: int, probe: str, vector: Vector, arm_weights: Mapping[str, float]
) -> dict[int, float]:
    """How far a skill leads each other that its own description finds."""
    hits = {
        "dense": dense(view, vector, Filters(), DEPTH, threads=1),
        "lexical": TantivyArm().search(view, probe, Filters(), DEPTH).hits,
    }
    score = {found.row: found.score for found in fuse(hits, arm_weights, 2 * DEPTH)}
    mine = score.pop(own, 0.0)
    return {rival: lead(mine, other) for rival, other in score.items() if mine or other}


def lead(mine: float, other: float) -> float:
    """The difference of two fused scores as a share of the higher one, from -1 to 1.

    So it means the same for a description that the index matches well and for one that it does not.
    """
    return (mine - other) / max(mine, other)


def _same_names(entries: Sequence[Entry]) -> set[tuple[int, int]]:
    bearers: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        bearers[normalised(entry.version.name)].append(entry.row.row)
    # A chain ties all of a name without a pair for every two of them.
    return {pair for rows in bearers.values() for pair in pairwise(sorted(rows))}


def _twin_bodies(entries: Sequence[Entry]) -> set[tuple[int, int]]:
    """Pairs of rows whose answers a route would collapse into one."""
    if not entries:
        return set()
    signatures = np.stack([entry.version.signature for entry in entries])
    rows = [entry.row.row for entry in entries]
    found = set()
    for place in range(len(rows) - 1):
        agreed = np.count_nonzero(signatures[place + 1 :] == signatures[place], axis=1)
        for offset in np.flatnonzero(agreed >= TWIN_AGREEMENT * signatures.shape[1]):
            one, other = rows[place], rows[place + 1 + int(offset)]
            found.add((min(one, other), max(one, other)))
    return found


def _pair(one: Entry, other: Entry, margin: float) -> Pair:
    here, there = (set(analyse(entry.version.description)) for entry in (one, other))
    first, second = (entry.row.passages[0].vector.astype(np.float32) for entry in (one, other))
    return Pair(
        one=one.place,
        other=other.place,
        margin=margin,
        cosine=float(first @ second),
        shared_words=len(here & there) / len(here | there) if here | there else 0.0,
        shared_body=float((one.version.signature == other.version.signature).mean()),
        same_name=normalised(one.version.name) == normalised(other.version.name),
    )


def _groups(pairs: Iterable[Pair], entries: Mapping[Place, Entry]) -> list[Group]:
    """Connected components of the pairs, the smallest margin first, none above MOST_MEMBERS.

    A pair that would tie two groups into a larger one is left out.
    """
    home: dict[Place, frozenset[Place]] = {}
    ordered = sorted(pairs, key=lambda pair: (pair.margin, pair.one, pair.other))
    for pair in ordered:
        joined = home.get(pair.one, frozenset({pair.one})) | home.get(
            pair.other, frozenset({pair.other})
        )
        if len(joined) <= MOST_MEMBERS:
            home |= dict.fromkeys(joined, joined)
    of_group: dict[frozenset[Place], list[Pair]] = defaultdict(list)
    for pair in ordered:
        if pair.other in home.get(pair.one, ()):
            of_group[home[pair.one]].append(pair)
    return [
        _group([entries[place] for place in sorted(places)], tied)
        for places, tied in of_group.items()
    ]


def _group(entries: Sequence[Entry], pairs: Sequence[Pair]) -> Group:
    stems = {entry.place: set(analyse(entry.version.description)) for entry in entries}
    members = tuple(
        Member(
            place=entry.place,
            name=entry.version.name,
            own_words=_own_words(
                entry.version.description,
                set().union(*(stems[other] for other in stems if other != entry.place)),
            ),
        )
        for entry in entries
    )
    return Group(members=members, pairs=tuple(pairs), advice=_advice(entries, members, pairs))


def _own_words(description: str, others: set[str]) -> tuple[str, ...]:
    """The words whose stem is not among the others', each once, in order."""
    words = re.findall(r"\w+", lexical_text(description))
    return tuple(
        dict.fromkeys(
            word.casefold() for word in words if (stem := analyse(word)) and stem[0] not in others
        )
    )


FEW_WORDS = 5
"""Descriptions that differ in at most so many words each are said to differ only in those."""


def _advice(
    entries: Sequence[Entry], members: Sequence[Member], pairs: Sequence[Pair]
) -> tuple[str, ...]:
    reasons = {reason for pair in pairs for reason in pair.reasons}
    advice = []
    if reasons & {"outranked", "near"}:
        advice.append(_on_descriptions(entries, members))
    if "same name" in reasons:
        advice.append("Same name: a task that calls it by name reaches none of them; rename.")
    if "twin bodies" in reasons:
        advice.append("Nearly the same body: a route offers one of them; withdraw the others.")
    return tuple(advice)


def _on_descriptions(entries: Sequence[Entry], members: Sequence[Member]) -> str:
    if len({entry.masked.casefold() for entry in entries}) == 1:
        return "Same description: say in each what the others do not do."
    if all(len(member.own_words) <= FEW_WORDS for member in members):
        words = sorted({word for member in members for word in member.own_words})
        return f"Descriptions differ only in: {', '.join(words) or 'the order of their words'}."
    return (
        "Descriptions speak of the same thing: open each with what only that skill does, and say "
        "when to take the other."
    )
