"""Removal of skills from a snapshot, as if they had been withdrawn; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.routing.follower import Snapshot
from core.retrieval.view import View


def without(snapshot: Snapshot, rows: Iterable[int]) -> Snapshot:
    """The snapshot with these rows invisible to both arms; the background stays as it was."""
    view = snapshot.view
    return replace(snapshot, view=View(view.generation, view.delta.apply([], rows)))
