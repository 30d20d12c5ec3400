"""Plots of an evaluation as PNG files, drawn from its figures alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.result import DecisionLine, Evaluation, PromiseLine, RetrievalRow
from evaluation.tables import HEADLINE, is_baseline
from evaluation.types import POOL, Interval

# Okabe and Ito 2008, "Color Universal Design": told apart with any colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PALETTE = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
GREY = "#777777"

WIDTH = 10.0  # inches, at DPI: 1,000 pixels
DPI = 100
MOST_PANELS = 9
MOST_CURVES = 8
FEWEST_ROWS = 10  # fewer make no curve
PANEL_CHARS = 48  # of a title line above one of three panels

Draw = Callable[[Evaluation], Figure | None]


def write(evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Write each plot that there are figures for into `folder`; the files by caption."""
    drawn: dict[str, Path] = {}
    for caption, name, draw in _PLOTS:
        figure = draw(evaluation)
        if figure is not None:
            drawn[caption] = folder / name
            FigureCanvasAgg(figure)
            figure.savefig(folder / name, dpi=DPI)
    return drawn


def retrieval(evaluation: Evaluation) -> Figure | None:
    """Hit@1 with its interval by system: a panel for each set, its catalogue beside the pool."""
    rows = [row for row in evaluation.retrieval if row.standing == HEADLINE]
    sets = _largest(rows)
    if not sets:
        return None
    figure, panels = _grid(len(sets), 2, height=0.6 + 0.28 * _most_systems(rows, sets))
    for axes, (source, scope) in zip(panels, sets, strict=True):
        within = [row for row in rows if (row.source, row.scope) == (source, scope)]
        pool = [row for row in rows if (row.source, row.scope) == (source, POOL)]
        over_pool = [] if scope == POOL else pool
        named = dict.fromkeys(row.system for row in [*within, *over_pool])
        systems = list(named)[::-1]  # drawn from below
        systems.sort(key=is_baseline)  # so that BM25 stands on top
        _intervals(axes, within, systems, 0.12, BLUE, "o")
        _intervals(axes, over_pool, systems, -0.12, ORANGE, "s")
        for row in within:
            if is_baseline(row.system):
                axes.axvline(row.metrics["Hit@1"].mean, color=GREY, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(systems)), systems)
        axes.set_ylim(-0.6, len(systems) - 0.4)
        axes.set_xlim(0, 1)
        axes.set_title(f"{source}, {within[0].metrics['Hit@1'].rows} queries\n{scope}", fontsize=9)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    for axes in panels[-2:]:
        axes.set_xlabel("Hit@1, 95 % bootstrap interval")
    handles = [
        panels[0].plot([], [], "o", color=BLUE, label="within its catalogue")[0],
        panels[0].plot([], [], "s", color=ORANGE, mfc="white", label="over the whole pool")[0],
        panels[0].plot([], [], ":", color=GREY, label="BM25 within the catalogue")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    _title(figure, "Retrieval: right skill ranked first, by system", evaluation)
    return figure


def _largest(rows: Sequence[RetrievalRow]) -> list[tuple[str, str]]:
    """The sets to draw, those with most queries; the pool has a panel only where it is alone."""
    sizes = {(row.source, row.scope): row.metrics["Hit@1"].rows for row in rows}
    sized = sorted((item for item in sizes.items() if item[1]), key=lambda item: -item[1])
    inside = {source for (source, scope), _ in sized if scope != POOL}
    shown = [key for key, _ in sized if key[1] != POOL or key[0] not in inside]
    return shown[:MOST_PANELS]


def _most_systems(rows: Sequence[RetrievalRow], sets: Sequence[tuple[str, str]]) -> int:
    return max(len({row.system for row in rows if row.source == source}) for source, _ in sets)


def _intervals(
    axes: Axes,
    rows: Sequence[RetrievalRow],
    systems: Sequence[str],
    offset: float,
    colour: str,
    marker: str,
) -> None:
    for row in rows:
        found: Interval = row.metrics["Hit@1"]
        axes.errorbar(
            found.mean,
            systems.index(row.system) + offset,
            xerr=[[found.mean - found.low], [found.high - found.mean]],
            fmt=marker,
            color=colour,
            mfc=colour if marker == "o" else "white",
            markersize=5,
            capsize=2,
            linewidth=1.4,
        )


def calibration(evaluation: Evaluation) -> Figure | None:
    """Reliability: share that was useful against probability, a panel for each kind of rows."""
    lines = _drawn(evaluation, MOST_PANELS)
    if not lines:
        return None
    figure, panels = _grid(len(lines), min(3, len(lines)), height=3.3)
    most = max(point.rows for line in lines for point in line.report.calibration.points)
    for axes, line in zip(panels, lines, strict=True):
        found = line.report.calibration
        colour = GREEN if found.verdict == "calibrated" else RED
        x = [point.predicted for point in found.points]
        y = [point.observed for point in found.points]
        sizes = [12 + 110 * point.rows / most for point in found.points]
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        axes.plot(x, y, color=colour, linewidth=1.2)
        axes.scatter(x, y, s=sizes, color=colour, alpha=0.75, zorder=3)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
        axes.set_title(
            f"{_panel_name(line)}\n"
            f"{found.verdict}, ECE {found.ece:.3f} (chance {found.chance:.3f})",
            fontsize=8,
        )
        axes.grid(color="#dddddd", linewidth=0.6)
    figure.supxlabel("probability given (above the line: too low; below: too high)", fontsize=9)
    figure.supylabel("share that was useful", fontsize=9)
    _title(figure, "Calibration: bins of equal mass, points as large as their rows", evaluation)
    return figure


def risk_coverage(evaluation: Evaluation) -> Figure | None:
    """Share of wrong loads among the surest tasks, one curve for each kind of rows."""
    lines = _drawn(evaluation, MOST_CURVES)
    if not lines:
        return None
    figure = Figure(figsize=(WIDTH, 5.4 + 0.16 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for place, line in enumerate(lines):
        found = line.report.risk_coverage
        axes.plot(
            found.coverage,
            found.risk,
            color=PALETTE[place % len(PALETTE)],
            linestyle=STYLES[place % len(STYLES)],
            linewidth=1.8,
            label=f"{line.rows}, {line.source} in {line.scope}, {line.policy}, "
            f"n {line.report.rows}: area {found.area:.3f}",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)
    axes.set_xlabel("coverage: share of tasks served with a skill, the surest first")
    axes.set_ylabel("risk: share of those that no skill there helps")
    axes.grid(color="#dddddd", linewidth=0.6)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    _title(figure, "Risk–coverage: a lower curve is a surer router", evaluation)
    return figure


def promises(evaluation: Evaluation) -> Figure | None:
    """False-load rate and its bound against what `max_false_load` promised."""
    lines = [line for line in evaluation.promises if line.false_loads.negatives]
    if not lines:
        return None
    kinds = list(dict.fromkeys(_promise(line) for line in lines))[:MOST_CURVES]
    figure = Figure(figsize=(WIDTH, 5.0 + 0.16 * len(kinds)), layout="constrained")
    axes = figure.subplots()
    top = max(line.max_false_load for line in lines) * 1.15
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="as promised")
    for place, kind in enumerate(kinds):
        shown = [line for line in lines if _promise(line) == kind]
        # Side by side, since every kind is asked for the same promises.
        shift = (place - (len(kinds) - 1) / 2) * top * 0.008
        rates = [line.false_loads.rate for line in shown]
        axes.errorbar(
            [line.max_false_load + shift for line in shown],
            rates,
            yerr=[
                [0.0] * len(shown),
                [line.false_loads.bound - rate for line, rate in zip(shown, rates, strict=True)],
            ],
            fmt="os^Dv<>p"[place],
            color=PALETTE[place],
            capsize=3,
            markersize=6,
            label=kind,
        )
    axes.set_xlim(0, top)
    axes.set_ylim(0, None)
    axes.set_xlabel("max_false_load")
    axes.set_ylabel("false-load rate, whisker up to its 95 % bound")
    axes.grid(color="#dddddd", linewidth=0.6)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    _title(figure, "The promise: loads where nothing would have helped", evaluation)
    return figure


_PLOTS: Sequence[tuple[str, str, Draw]] = (
    ("Hit@1 by system", "retrieval.png", retrieval),
    ("Calibration of the probabilities", "calibration.png", calibration),
    ("Risk–coverage", "risk_coverage.png", risk_coverage),
    ("False loads against the promise", "promises.png", promises),
)


def _drawn(evaluation: Evaluation, most: int) -> list[DecisionLine]:
    """The lines with most rows, in the order of the tables."""
    sized = [line for line in evaluation.decisions if line.report.rows >= FEWEST_ROWS]
    kept = sorted(sized, key=lambda line: -line.report.rows)[:most]
    return [line for line in sized if line in kept]


def _panel_name(line: DecisionLine) -> str:
    parts = (f"{line.rows}, n {line.report.rows}", f"{line.source} in {line.scope}", line.policy)
    return "\n".join(textwrap.shorten(part, PANEL_CHARS, placeholder="…") for part in parts)


def _promise(line: PromiseLine) -> str:
    return f"{line.negatives} in {line.scope}, {line.policy} (n {line.false_loads.negatives})"


def _grid(count: int, columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, 1.0 + (height + 0.5) * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _title(figure: Figure, what: str, evaluation: Evaluation) -> None:
    source = evaluation.provenance
    rows = f"{source.split} rows, {source.skills:,} skills indexed ({source.pool})"
    figure.suptitle(f"{what}\n{rows}, commit {source.commit}", fontsize=11)
