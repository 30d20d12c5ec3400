"""The view: a generation and a delta seen as one, through a request's filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.errors import SpaceMismatchError
from core.retrieval.delta import Delta
from core.retrieval.dense import Bitmap
from core.retrieval.generation import Generation
from core.retrieval.names import called
from core.retrieval.rows import CACHED_MASKS, Mask
from core.retrieval.segment import Segment
from core.types import Filters


@dataclass(frozen=True, eq=False)
class Visible:
    """The rows of one segment that a request may see."""

    segment: Segment
    mask: Mask

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return int(np.count_nonzero(self.mask))

    @property
    def rows(self) -> Mask | None:
        """The mask, or None where every row is visible."""
        return None if self.count == len(self.mask) else self.mask

    @cached_property
    def passages(self) -> Bitmap | None:
        """The mask for passages, packed, or None where every row is visible."""
        if self.rows is None:
            return None
        per_row = np.diff(self.segment.rows.passage_starts)
        return np.packbits(np.repeat(self.mask, per_row), bitorder="little")

    @cached_property
    def _codes(self) -> NDArray[np.integer]:
        """Of the catalogues with a visible row."""
        return np.unique(self.segment.rows.catalogue_codes[self.mask])

    @cached_property
    def catalogues(self) -> frozenset[str]:
        """Those with a visible row."""
        return frozenset(self.segment.rows.catalogues[code] for code in self._codes.tolist())

    @cached_property
    def background(self) -> NDArray[np.float32] | None:
        """Best similarity of the visible catalogues to each background query, None without any."""
        if not len(self._codes):
            return None
        found = self.segment.background[self._codes]
        best: NDArray[np.float32] = found.max(axis=0).astype(np.float32)
        return best


class View:
    """What every request of one moment searches. Never changes; safe in any thread."""

    def __init__(self, generation: Generation, delta: Delta) -> None:
        """Raises SpaceMismatchError where the two hold vectors of different spaces."""
        if generation.space != delta.space:
            raise SpaceMismatchError(
                f"The generation {generation.id} is of the space {generation.space.id}, "
                f"the delta of {delta.space.id}."
            )
        self.generation = generation
        self.delta = delta
        self.segments = (generation.segment, delta.segment)
        self._live = (self._live_in(generation.segment), self._live_in(delta.segment))
        self._visible: dict[Filters, tuple[Visible, ...]] = {}

    def _live_in(self, segment: Segment) -> Mask:
        live = np.ones(len(segment.rows), dtype=np.bool_)
        tombstones = segment.rows.positions(self.delta.removed)
        live[tombstones[tombstones >= 0]] = False
        if segment is self.delta.segment:
            # A change that the generation already holds may reach the delta once more.
            live[self.generation.segment.rows.positions(segment.rows.ids) >= 0] = False
        return live

    @cached_property
    def known_catalogues(self) -> frozenset[str]:
        """Every catalogue that a filter can name."""
        return frozenset(name for segment in self.segments for name in segment.rows.catalogues)

    def visible(self, filters: Filters) -> tuple[Visible, ...]:
        """Per segment, the rows that are live, routable and let through by the filters.

        A catalogue that is not in `known_catalogues` matches nothing here; refusing it is the
        caller's part.
        """
        known = self._visible.get(filters)
        if known is None:
            known = tuple(
                Visible(segment, segment.rows.mask(filters) & live)
                for segment, live in zip(self.segments, self._live, strict=True)
            )
            if len(self._visible) >= CACHED_MASKS:
                self._visible.clear()
            self._visible[filters] = known
        return known

    def sees(self, row: int, filters: Filters) -> bool:
        """Whether the filters let this row through."""
        return any(
            bool((part.mask & (part.segment.rows.ids == row)).any())
            for part in self.visible(filters)
        )

    def only(self, row: int) -> View:
        """The same with this row alone visible, whatever the filters; none if it is not live."""
        return _Only(self, row)

    def count(self, filters: Filters) -> int:
        """How many rows the filters let through."""
        return sum(part.count for part in self.visible(filters))

    def only_catalogue(self, filters: Filters) -> str | None:
        """The catalogue of every visible row, None where there are several or no row."""
        seen = frozenset[str]().union(*(part.catalogues for part in self.visible(filters)))
        return next(iter(seen)) if len(seen) == 1 else None

    def called(self, task: str, filters: Filters) -> list[int]:
        """Rows whose name the task calls and no other visible row bears, in the task's order.

        What counts as a call: see `names.called`.
        """
        parts = self.visible(filters)
        rows = []
        for name in called(task, [segment.names for segment in self.segments]):
            bearers = [
                int(part.segment.rows.ids[position])
                for part in parts
                for position in part.segment.names.positions(name)
                if part.mask[position]
            ]
            if len(bearers) == 1:
                rows.append(bearers[0])
        return rows

    def background(self, filters: Filters) -> NDArray[np.float32]:
        """Best similarity to each background query among the visible catalogues, shape (queries,).

        Taken over whole catalogues, those with a visible row: a filter that cuts through a
        catalogue, or a row removed since, does not lower it. Zeros where no row is visible.
        """
        parts = [part.background for part in self.visible(filters)]
        found = [best for best in parts if best is not None]
        if not found:
            return np.zeros(len(self.generation.background_queries), dtype=np.float32)
        highest: NDArray[np.float32] = np.maximum.reduce(found)
        return highest


class _Only(View):
    """One row of a view, so that an arm's score for it can be had at any depth."""

    def __init__(self, view: View, row: int) -> None:
        super().__init__(view.generation, view.delta)
        self._seen = tuple(
            Visible(segment, live & (segment.rows.ids == row))
            for segment, live in zip(self.segments, self._live, strict=True)
        )

    def visible(self, filters: Filters) -> tuple[Visible, ...]:
        return self._seen
