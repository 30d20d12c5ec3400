"""The row table: what filters and names need to know of each indexed row, as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.types import Filters, IndexRow

COLUMNS_FILE = "rows.npz"
STRINGS_FILE = "strings.json"

Mask = NDArray[np.bool_]
"""One flag per position of a row table, shape (rows,)."""

Positions = NDArray[np.int64]
"""Places in a row table, counted from 0."""

Scalar = TypeVar("Scalar", bound=np.generic)

# A server sees few distinct filters; past this many, clients are inventing them.
CACHED_MASKS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class RowTable:
    """Columns of n rows in index order; a row's place here is its *position*.

    Codes index the vocabulary of the same name. Tags and passages are ragged: row i owns
    `tag_codes[tag_starts[i]:tag_starts[i + 1]]` and the passages
    `passage_starts[i]` up to `passage_starts[i + 1]`.
    """

    ids: NDArray[np.int64]
    catalogue_codes: NDArray[np.int32]
    licence_codes: NDArray[np.int32]
    language_codes: NDArray[np.int32]
    trust: NDArray[np.int8]
    routable: NDArray[np.bool_]
    tag_starts: NDArray[np.int64]
    tag_codes: NDArray[np.int32]
    passage_starts: NDArray[np.int64]

    catalogues: tuple[str, ...]
    licences: tuple[str, ...]  # "" stands for no licence
    languages: tuple[str, ...]
    tags: tuple[str, ...]
    names: tuple[str, ...]  # by position

    _masks: dict[Filters, Mask] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, rows: Sequence[IndexRow]) -> RowTable:
        """The table of these rows, in this order."""
        catalogues, catalogue_codes = _encode(row.catalogue for row in rows)
        licences, licence_codes = _encode(row.licence or "" for row in rows)
        languages, language_codes = _encode(row.language for row in rows)
        tags, tag_codes = _encode(tag for row in rows for tag in row.tags)
        return cls(
            ids=np.array([row.row for row in rows], dtype=np.int64),
            catalogue_codes=catalogue_codes,
            licence_codes=licence_codes,
            language_codes=language_codes,
            trust=np.array([row.trust for row in rows], dtype=np.int8),
            routable=np.array([row.routable for row in rows], dtype=np.bool_),
            tag_starts=_starts([len(row.tags) for row in rows]),
            tag_codes=tag_codes,
            passage_starts=_starts([len(row.passages) for row in rows]),
            catalogues=catalogues,
            licences=licences,
            languages=languages,
            tags=tags,
            names=tuple(row.name for row in rows),
        )

    @classmethod
    def concat(cls, tables: Sequence[RowTable]) -> RowTable:
        """All rows of the tables, in order; vocabularies keep the order of first appearance."""
        if len(tables) == 1:
            return tables[0]
        vocabularies: dict[str, tuple[str, ...]] = {}
        codes: dict[str, NDArray[np.int32]] = {}
        for codes_name, words_name in _CODED.items():
            vocabularies[words_name], codes[codes_name] = _join_codes(
                [(getattr(t, words_name), getattr(t, codes_name)) for t in tables]
            )
        return cls(
            ids=_join([t.ids for t in tables], np.int64),
            trust=_join([t.trust for t in tables], np.int8),
            routable=_join([t.routable for t in tables], np.bool_),
            tag_starts=_starts(_join([np.diff(t.tag_starts) for t in tables], np.int64)),
            passage_starts=_starts(_join([np.diff(t.passage_starts) for t in tables], np.int64)),
            names=tuple(name for t in tables for name in t.names),
            catalogue_codes=codes["catalogue_codes"],
            licence_codes=codes["licence_codes"],
            language_codes=codes["language_codes"],
            tag_codes=codes["tag_codes"],
            catalogues=vocabularies["catalogues"],
            licences=vocabularies["licences"],
            languages=vocabularies["languages"],
            tags=vocabularies["tags"],
        )

    def mask(self, filters: Filters) -> Mask:
        """Which rows the filters let through; rows that are not routable never pass.

        Licences, languages and tags match whatever their case, catalogues exactly. The array is
        cached and read-only.
        """
        known = self._masks.get(filters)
        if known is None:
            known = self._mask(filters)
            known.setflags(write=False)
            if len(self._masks) >= CACHED_MASKS:
                self._masks.clear()
            self._masks[filters] = known
        return known

    def _mask(self, filters: Filters) -> Mask:
        mask: Mask = self.routable & (self.trust >= filters.trust_floor)
        if filters.catalogues:
            mask &= _chosen(self.catalogues, filters.catalogues)[self.catalogue_codes]
        if filters.licences:
            mask &= _chosen_folded(self.licences, filters.licences)[self.licence_codes]
        if filters.languages:
            mask &= _chosen_folded(self.languages, filters.languages)[self.language_codes]
        for tag in filters.tags:
            mask &= self._tagged(tag)
        return mask

    def _tagged(self, tag: str) -> Mask:
        mask = np.zeros(len(self), dtype=np.bool_)
        places = np.flatnonzero(_chosen_folded(self.tags, (tag,))[self.tag_codes])
        mask[np.searchsorted(self.tag_starts, places, side="right") - 1] = True
        return mask

    def positions(self, rows: NDArray[np.int64]) -> Positions:
        """The position of each row id, -1 where the table does not hold it."""
        if not len(self):
            return np.full(len(rows), -1, dtype=np.int64)
        order, ordered = self._by_id
        places = np.minimum(np.searchsorted(ordered, rows), len(self) - 1)
        return np.where(ordered[places] == rows, order[places], -1)

    @cached_property
    def _by_id(self) -> tuple[Positions, NDArray[np.int64]]:
        order = np.argsort(self.ids)
        return order, self.ids[order]

    def save(self, folder: Path) -> None:
        """Write the columns and strings as two files into `folder`."""
        np.savez(folder / COLUMNS_FILE, **{name: getattr(self, name) for name in _COLUMNS})
        strings = {name: getattr(self, name) for name in _STRINGS}
        (folder / STRINGS_FILE).write_text(json.dumps(strings), encoding="ascii")

    @classmethod
    def load(cls, folder: Path) -> RowTable:
        """Read what `save` wrote."""
        strings = json.loads((folder / STRINGS_FILE).read_text(encoding="ascii"))
        with np.load(folder / COLUMNS_FILE) as columns:
            stored: dict[str, Any] = {name: columns[name] for name in _COLUMNS}
        stored.update({name: tuple(strings[name]) for name in _STRINGS})
        return cls(**stored)


_CODED = {
    "catalogue_codes": "catalogues",
    "licence_codes": "licences",
    "language_codes": "languages",
    "tag_codes": "tags",
}
_STRINGS = (*_CODED.values(), "names")
_COLUMNS = tuple(f.name for f in fields(RowTable) if f.name not in (*_STRINGS, "_masks"))


def _encode(words: Iterable[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    vocabulary: dict[str, int] = {}
    codes = [vocabulary.setdefault(word, len(vocabulary)) for word in words]
    return tuple(vocabulary), np.array(codes, dtype=np.int32)


def _join_codes(
    parts: Sequence[tuple[tuple[str, ...], NDArray[np.int32]]],
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    vocabulary: dict[str, int] = {}
    joined = []
    for words, codes in parts:
        renumbered = [vocabulary.setdefault(word, len(vocabulary)) for word in words]
        joined.append(np.array(renumbered, dtype=np.int32)[codes])
    return tuple(vocabulary), _join(joined, np.int32)


def _join(arrays: Sequence[NDArray[Scalar]], dtype: type[Scalar]) -> NDArray[Scalar]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


def _starts(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _chosen(vocabulary: Sequence[str], wanted: Sequence[str]) -> Mask:
    """One flag per word of the vocabulary."""
    allowed = frozenset(wanted)
    return np.array([word in allowed for word in vocabulary], dtype=np.bool_)


def _chosen_folded(vocabulary: Sequence[str], wanted: Sequence[str]) -> Mask:
    folded = [word.casefold() for word in vocabulary]
    return _chosen(folded, [word.casefold() for word in wanted])
