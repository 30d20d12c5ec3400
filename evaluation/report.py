"""Report of an evaluation: Markdown to read, JSON to compare, tables for a terminal, plots."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from evaluation import plots
from evaluation.decision_metrics import Calibration, RiskCoverage
from evaluation.result import Evaluation
from evaluation.tables import Table, sections, tables
from evaluation.weak import RULES, weak_points

DIGITS = 6  # significant ones in the JSON file
CURVE_POINTS = 200  # of a risk–coverage curve in the JSON file
WEAK = "What this shows as weak"
WIDEST = 1_000  # characters of a printed table: wider than any, so that no cell is cut


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON values with its weak points; nan is null, curves are thinned."""
    found: dict[str, Any] = _plain(evaluation)
    return found | {"weak": weak_points(evaluation)}


def _plain(value: object) -> Any:
    if isinstance(value, RiskCoverage):
        kept = np.unique(np.linspace(0, max(len(value.risk) - 1, 0), CURVE_POINTS).astype(int))
        kept = kept[: len(value.risk)]
        curve = {"coverage": value.coverage[kept], "risk": value.risk[kept]}
        return _plain({"area": value.area, **curve})
    if is_dataclass(value):
        found = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return found | ({"verdict": value.verdict} if isinstance(value, Calibration) else {})
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(held) for held in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def markdown(evaluation: Evaluation, images: Mapping[str, str] | None = None) -> str:
    """The report; `images` are file names of plots by their captions."""
    found = sections(tables(evaluation))
    parts = ["# Evaluation", *_weak_lines(evaluation)]
    parts += [f"![{caption}]({name})" for caption, name in (images or {}).items()]
    for section, held in found.items():
        parts.append(f"## {section}")
        parts += [_markdown_table(table) for table in held]
    if evaluation.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in evaluation.notes)]
    return "\n\n".join(parts) + "\n"


def _weak_lines(evaluation: Evaluation) -> list[str]:
    points = weak_points(evaluation) or ["Nothing, by the rules above."]
    return [f"## {WEAK}", f"Listed by rule: {RULES}", "\n".join(f"- {each}" for each in points)]


def _markdown_table(table: Table) -> str:
    rule = ["---" if place < table.texts else "---:" for place in range(len(table.header))]
    lines = [table.header, rule, *table.rows]
    text = "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)
    return f"### {table.title}\n\n{text}" if table.title else text


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json` and the plots that there is something for; their paths.

    The folder is made where it is missing; earlier files of these names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots.write(evaluation, folder)
    images = {caption: path.name for caption, path in drawn.items()}
    text, data = folder / "report.md", folder / "report.json"
    text.write_text(markdown(evaluation, images), encoding="utf-8")
    data.write_text(
        json.dumps(as_json(evaluation), ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        encoding="utf-8",
    )
    return [text, data, *drawn.values()]


def print_tables(evaluation: Evaluation, console: Console) -> None:
    """Every table and the weak points, uncut: a line longer than the terminal runs on."""
    wide = Console(
        file=console.file,
        width=WIDEST,
        force_terminal=console.is_terminal,
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for section, held in sections(tables(evaluation)).items():
        wide.print(f"\n{section.upper()}")
        for table in held:
            if table.title:
                wide.print(f"\n{table.title}")
            wide.print(_rich_table(table))
    wide.print(f"\n{WEAK.upper()}")
    for point in weak_points(evaluation) or ["Nothing by rule."]:
        wide.print(f"- {point}")
    for note in evaluation.notes:
        wide.print(f"Note: {note}")


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, show_header=any(table.header), pad_edge=False)
    for place, name in enumerate(table.header):
        side: Literal["left", "right"] = "left" if place < table.texts else "right"
        shown.add_column(Text(name), justify=side, no_wrap=True)
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown
