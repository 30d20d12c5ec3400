"""Split rows into train, calibration and test, so that nothing learned has seen a test skill.

What must not be parted is tied together: the skills that one row speaks of, their twins, rows of
the same text, and the skills of one repository. A repository that holds a whole labelled set
would take that set to one side, so inside such a repository only skill and twins tie. All that
is tied, directly or through others, goes where the hash of its name sends it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.types import Place, Query, Split, TriggerPair, catalogue_of

SEED = 21_927
"""Chosen by row counts alone, before any score was seen: the first seed from 0 that holds each
set, and the uipath negatives by themselves, within six points of SHARES. The two sets from many
repositories cannot be: there the largest knot, mirrors of one another with four of five weak
prompts, goes to train, and each split keeps 3 % of the prompts and a tenth of the pairs."""

SHARES = {Split.TRAIN: 0.45, Split.CALIBRATION: 0.15, Split.TEST: 0.40}
COMMITTED = Path(__file__).with_name("split.json")

Row = Query | TriggerPair


def skills_of(row: Row) -> tuple[Place, ...]:
    """Every skill that a row says something about."""
    if isinstance(row, TriggerPair):
        return (row.place,)
    return row.relevant + row.withheld


@dataclass(frozen=True, slots=True)
class Ties:
    """What ties a skill to others: its twins, and its repository unless that is split inside."""

    twins: Mapping[Place, str]  # near_group by place; a skill without twins need not be there
    split_inside: frozenset[str] = frozenset()  # repositories that hold a whole labelled set

    def of_skill(self, place: Place) -> tuple[str, ...]:
        """The knots that a skill hangs on, in no special order."""
        knots = [f"skill {place}"]
        if group := self.twins.get(place):
            knots.append(f"twins {group}")
        if (repository := catalogue_of(place)) not in self.split_inside:
            knots.append(f"repository {repository}")
        return tuple(knots)

    def of_row(self, row: Row) -> tuple[str, ...]:
        """The knots that a row hangs on: its skills', and its text without case and spacing."""
        text = " ".join(row.text.split()).casefold()
        skills = (knot for place in skills_of(row) for knot in self.of_skill(place))
        return (f"text {text}", *skills)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where every row went, and where every knot went that a row hangs on."""

    by_qid: Mapping[str, Split]
    by_knot: Mapping[str, Split]
    component: Mapping[str, str]  # by qid: the name of all that is tied together with it
    ties: Ties

    def of_skill(self, place: Place) -> Split | None:
        """What a skill may be used for, with rows or without; None: nothing ties it to a row.

        A skill between two sides, by its repository and by its twins, belongs to the stricter.
        """
        sides = {self.by_knot.get(knot) for knot in self.ties.of_skill(place)}
        strictest_first = (Split.TEST, Split.CALIBRATION, Split.TRAIN)
        return next((split for split in strictest_first if split in sides), None)

    def checksum(self) -> str:
        """sha256 of the sorted lines `qid split`."""
        lines = (f"{qid} {split}\n" for qid, split in sorted(self.by_qid.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def assign(rows: Iterable[Row], ties: Ties, *, seed: int = SEED) -> Assignment:
    """Send every row to one split; whatever is tied goes together.

    Raises ValueError where two rows share a qid.
    """
    forest: dict[str, str] = {}
    first_knot: dict[str, str] = {}
    for row in rows:
        knots = ties.of_row(row)
        if row.qid in first_knot:
            raise ValueError(f"two rows have the qid {row.qid!r}")
        first_knot[row.qid] = knots[0]
        for knot in knots:
            _join(forest, knots[0], knot)
    root = {knot: _root(forest, knot) for knot in list(forest)}
    side = {name: _side(name, seed) for name in set(root.values())}
    return Assignment(
        by_qid={qid: side[root[knot]] for qid, knot in first_knot.items()},
        by_knot={knot: side[name] for knot, name in root.items()},
        component={qid: root[knot] for qid, knot in first_knot.items()},
        ties=ties,
    )


def _root(forest: dict[str, str], knot: str) -> str:
    forest.setdefault(knot, knot)
    while forest[knot] != knot:
        forest[knot] = forest[forest[knot]]
        knot = forest[knot]
    return knot


def _join(forest: dict[str, str], one: str, other: str) -> None:
    # The smallest name becomes the root, so that the order of rows is without effect.
    low, high = sorted((_root(forest, one), _root(forest, other)))
    forest[high] = low


def _side(name: str, seed: int) -> Split:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    point = int.from_bytes(digest[:8]) / 2**64
    for split, share in SHARES.items():
        if point < share:
            return split
        point -= share
    return Split.TEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One catalogue held out: what may be fitted, and what that must then be measured on."""

    catalogue: str
    fit: tuple[Query, ...]  # train and calibration rows of other catalogues
    held_out: tuple[Query, ...]  # every row of the catalogue, with its split


def leave_one_catalogue_out(queries: Sequence[Query], assignment: Assignment) -> Iterator[Fold]:
    """One fold for each catalogue, in order of name.

    No row to fit is a test row, nor tied to a held-out row by a twin or by its text.
    """
    for catalogue in sorted({query.catalogue for query in queries if query.catalogue}):
        held_out = tuple(query for query in queries if query.catalogue == catalogue)
        tied = {assignment.component[query.qid] for query in held_out}
        fit = tuple(
            query
            for query in queries
            if query.catalogue != catalogue
            and assignment.by_qid[query.qid] is not Split.TEST
            and assignment.component[query.qid] not in tied
        )
        yield Fold(catalogue=catalogue, fit=fit, held_out=held_out)


def summary(sources: Mapping[str, str], assignment: Assignment, *, seed: int = SEED) -> Any:
    """What `split.json` commits: seed, checksum and rows per set and split; JSON-compatible.

    `sources` maps each qid to the set it comes from.
    """
    counts: dict[str, Counter[str]] = {}
    for qid, split in assignment.by_qid.items():
        counts.setdefault(sources[qid], Counter())[split.value] += 1
    return {
        "seed": seed,
        "checksum": assignment.checksum(),
        "rows": {
            source: {split.value: found[split.value] for split in Split}
            for source, found in sorted(counts.items())
        },
    }


def committed() -> Any:
    """The summary of the split that every published figure rests on."""
    return json.loads(COMMITTED.read_text())
