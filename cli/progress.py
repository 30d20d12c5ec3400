"""Progress on stderr: bars with rate and ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.output import stderr

LINE_EVERY_S = 10.0


class Bars:
    """One bar per stage, made when the stage first reports."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=stderr,
            disable=not stderr.is_terminal,
            speed_estimate_period=120,
        )
        self._bars: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Note that `stage` is at `done` of `total`."""
        now = time.monotonic()
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total, detail=detail)
            self._started[stage] = now
        self._progress.update(self._bars[stage], completed=done, total=total, detail=detail)
        if not stderr.is_terminal and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            elapsed = now - self._started[stage]
            left = f", ETA {elapsed * (total - done) / done:,.0f} s" if done and elapsed else ""
            stderr.print(f"{stage} {done}/{total} {detail}{left}")
