"""Tables of an evaluation, as titles and cells: Markdown, terminal and tests read the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation.result import (
    Comparison,
    DecisionLine,
    Evaluation,
    Part,
    PromiseLine,
    RetrievalRow,
    SetLine,
)
from evaluation.retrieval_metrics import COMPARED, COVERAGE, Standing
from evaluation.types import POOL, Interval

HEADLINE = "unnamed"
"""The standing of the main retrieval rows: all queries that do not name their skill."""

NOTHING = "–"
APART = {
    Standing.NAMES_SKILL: "the query names its skill",
    Standing.TRUNCATED: "the right skill's body is cut in the data",
    Standing.WEAK_POSITIVE: "nobody said that this skill is the right one",
    Standing.MAIN: "none of these",
}
_PLAIN_METRICS = ("MRR@10", "nDCG@10", "Recall@5", "Recall@10", "Recall@50")
_BREAKDOWNS = {"length": "query length", "language": "language", "needed": "skills needed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells under a header; the first `texts` columns are text, the others figures."""

    section: str
    title: str = ""
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1


def tables(evaluation: Evaluation) -> list[Table]:
    """Every table in the order of the report; those without rows are left out."""
    found = [
        provenance_table(evaluation),
        *retrieval_tables(evaluation.retrieval, evaluation.comparisons),
        training_table(evaluation.comparisons),
        apart_table(evaluation.retrieval),
        *part_tables(evaluation.parts),
        decision_table(evaluation.decisions),
        promise_table(evaluation.promises),
        set_table(evaluation.sets),
    ]
    return [table for table in found if table.rows]


def provenance_table(evaluation: Evaluation) -> Table:
    """Where the figures come from."""
    source = evaluation.provenance
    fields = {
        "command": source.command,
        "at": source.at,
        "commit": source.commit,
        **source.machine,
        "rows scored": source.split,
        "split checksum": source.split_checksum,
        "skills indexed": f"{source.skills:,} ({source.pool})",
        "space": source.space,
        "policy": source.policy,
        **{f"sha256 of {name}": digest for name, digest in source.data.items()},
    }
    rows = tuple((name, value) for name, value in fields.items() if value)
    return Table(section="Where this comes from", header=("", ""), rows=rows, texts=2)


def retrieval_tables(
    rows: Sequence[RetrievalRow], comparisons: Sequence[Comparison]
) -> Iterator[Table]:
    """One table for each source and scope, the systems as rows."""
    main = [row for row in rows if row.standing == HEADLINE]
    for source, scope in dict.fromkeys((row.source, row.scope) for row in main):
        shown = [row for row in main if (row.source, row.scope) == (source, scope)]
        against = {
            found.one: found
            for found in both_ways(comparisons)
            if (found.source, found.scope, found.metric) == (source, scope, "Hit@1")
            and is_baseline(found.other)
        }
        where = "over the pool" if scope == POOL else f"within {scope}"
        covered = any(COVERAGE in row.metrics and row.metrics[COVERAGE].rows for row in shown)
        yield Table(
            section="Retrieval",
            title=f"{source} {where}, {shown[0].metrics['Hit@1'].rows} queries",
            header=(
                "system",
                "Hit@1 [95 %]",
                *_PLAIN_METRICS,
                *([COVERAGE] if covered else []),
                "p50 / p95 ms",
                "tokens per skill",
                "Hit@1 against BM25 [95 %]",
            ),
            rows=tuple(_retrieval_cells(row, against.get(row.system), covered) for row in shown),
        )


def training_table(comparisons: Sequence[Comparison]) -> Table:
    """What training the encoder gained: each arm against itself with the untuned one."""
    gains: dict[tuple[str, str, str], dict[str, Comparison]] = {}
    for found in both_ways(comparisons):
        if found.other == f"{found.one}-untuned":
            gains.setdefault((found.source, found.scope, found.one), {})[found.metric] = found
    return Table(
        section="Trained against untuned encoder",
        texts=3,
        header=("set", "scope", "system", *(f"{metric} [95 %]" for metric in COMPARED)),
        rows=tuple(
            (
                *where,
                *(
                    f"{interval(by[metric].difference, sign=True)} {by[metric].verdict}"
                    if metric in by
                    else NOTHING
                    for metric in COMPARED
                ),
            )
            for where, by in sorted(gains.items())
        ),
    )


def is_baseline(system: str) -> bool:
    """Whether a system is a plain BM25, by any library."""
    return "bm25" in system.casefold()


def both_ways(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Each comparison, and the same seen from the other system."""
    for found in comparisons:
        yield found
        difference = found.difference
        yield replace(
            found,
            one=found.other,
            other=found.one,
            difference=replace(
                difference, mean=-difference.mean, low=-difference.high, high=-difference.low
            ),
            verdict={"better": "worse", "worse": "better"}.get(found.verdict, found.verdict),
        )


def _retrieval_cells(
    row: RetrievalRow, against: Comparison | None, covered: bool
) -> tuple[str, ...]:
    names = (*_PLAIN_METRICS, COVERAGE) if covered else _PLAIN_METRICS
    return (
        row.system,
        interval(row.metrics["Hit@1"]),
        *(figure(row.metrics[name].mean) if name in row.metrics else NOTHING for name in names),
        f"{row.p50_ms:,.1f} / {row.p95_ms:,.1f}",
        f"{row.tokens_per_skill:,.0f}" if row.tokens_per_skill else NOTHING,
        f"{interval(against.difference, sign=True)} {against.verdict}" if against else NOTHING,
    )


def apart_table(rows: Sequence[RetrievalRow]) -> Table:
    """Rows that a retrieval score should not rest on, or must not hide.

    What is left without them is shown too, where that is less than the headline's rows.
    """
    headline = {
        (row.source, row.scope): row.metrics["Hit@1"].rows
        for row in rows
        if row.standing == HEADLINE
    }
    apart = [
        row
        for row in rows
        if row.standing != HEADLINE
        and (
            row.standing != Standing.MAIN
            or row.metrics["Hit@1"].rows != headline.get((row.source, row.scope))
        )
    ]
    return Table(
        section="Rows reported apart",
        texts=4,
        header=("rows", "source", "scope", "system", "n", "Hit@1 [95 %]", "MRR@10", "Recall@50"),
        rows=tuple(
            (
                APART.get(Standing(row.standing), row.standing)
                if row.standing in set(Standing)
                else row.standing,
                row.source,
                row.scope,
                row.system,
                str(row.metrics["Hit@1"].rows),
                interval(row.metrics["Hit@1"]),
                figure(row.metrics["MRR@10"].mean),
                figure(row.metrics["Recall@50"].mean),
            )
            for row in sorted(apart, key=lambda row: (row.standing, row.source))
        ),
    )


def part_tables(parts: Sequence[Part]) -> Iterator[Table]:
    """One table for each breakdown into several parts and scope: Hit@1 of each system.

    Sets and standings have tables of their own.
    """
    for by, scope in dict.fromkeys((part.by, part.scope) for part in parts):
        shown = [part for part in parts if (part.by, part.scope) == (by, scope)]
        if by not in _BREAKDOWNS or len({part.part for part in shown}) < 2:
            continue
        where = "over the pool" if scope == POOL else "each query within its catalogue"
        yield _pivot(shown, "Hit@1", f"By {_BREAKDOWNS[by]}, {where}: Hit@1 [95 %]")
        if by == "needed":
            yield _pivot(shown, COVERAGE, f"All needed skills among the first ten, {where}")


def _pivot(parts: Sequence[Part], metric: str, title: str) -> Table:
    systems = list(dict.fromkeys(part.system for part in parts))
    found = {(part.part, part.system): part.metrics.get(metric) for part in parts}
    names = [
        name
        for name in dict.fromkeys(part.part for part in parts)
        if any((cell := found.get((name, system))) and cell.rows for system in systems)
    ]
    return Table(
        section="By kind of query",
        title=title,
        header=("part", "n", *systems),
        rows=tuple(
            (
                name,
                str(max(cell.rows for s in systems if (cell := found.get((name, s))))),
                *(
                    interval(cell) if (cell := found.get((name, system))) else NOTHING
                    for system in systems
                ),
            )
            for name in names
        ),
    )


def decision_table(lines: Iterable[DecisionLine]) -> Table:
    """What each policy decided over each kind of rows, and what its probabilities are worth."""
    return Table(
        section="Decisions",
        texts=4,
        header=(
            "rows",
            "source",
            "scope",
            "policy",
            "n (useful)",
            "balanced accuracy, load [95 %]",
            "load or consider [95 %]",
            "AUROC [95 %]",
            "ECE (chance)",
            "lean",
            "probabilities",
            "Brier",
            "AURC",
            "false loads (95 % bound)",
        ),
        rows=tuple(_decision_cells(line) for line in lines),
    )


def _decision_cells(line: DecisionLine) -> tuple[str, ...]:
    found = line.report
    loads = found.false_loads
    return (
        line.rows,
        line.source,
        line.scope,
        line.policy,
        f"{found.rows} ({found.useful})",
        interval(found.balanced_accuracy),
        interval(found.balanced_accuracy_offer),
        interval(found.auroc_interval),
        f"{figure(found.calibration.ece)} ({figure(found.calibration.chance)})",
        figure(found.calibration.overconfidence, sign=True),
        found.calibration.verdict,
        figure(found.calibration.brier),
        figure(found.risk_coverage.area),
        f"{figure(loads.rate)} (≤ {figure(loads.bound)})" if loads.negatives else NOTHING,
    )


def promise_table(lines: Iterable[PromiseLine]) -> Table:
    """Whether `max_false_load` was kept, over each kind of negatives."""
    return Table(
        section="The promise",
        texts=3,
        header=(
            "negatives",
            "scope",
            "policy",
            "max_false_load",
            "false loads",
            "rate (95 % bound)",
            "kept",
            "useful still loaded",
        ),
        rows=tuple(
            (
                line.negatives,
                line.scope,
                line.policy,
                f"{line.max_false_load:g}",
                f"{line.false_loads.loads} of {line.false_loads.negatives}",
                f"{figure(line.false_loads.rate)} (≤ {figure(line.false_loads.bound)})",
                _kept(line),
                figure(line.loads_of_useful),
            )
            for line in lines
        ),
    )


def set_table(lines: Iterable[SetLine]) -> Table:
    """Whether what tasks need is among the skills chosen for them, and for how many tokens."""
    return Table(
        section="Sets of skills",
        texts=3,
        header=(
            "tasks",
            "source",
            "chosen",
            "n",
            "all needed [95 %]",
            "of those needed [95 %]",
            "exactly one",
            "skills",
            "tokens",
        ),
        rows=tuple(
            (
                line.rows,
                line.source,
                line.chosen,
                str(line.coverage.rows),
                interval(line.full_coverage),
                interval(line.coverage),
                figure(line.exactly_one),
                f"{line.skills:.2f}",
                f"{line.tokens:,.0f}",
            )
            for line in lines
        ),
    )


def _kept(line: PromiseLine) -> str:
    if line.false_loads.bound <= line.max_false_load:
        return "yes"
    return "on these rows" if line.false_loads.rate <= line.max_false_load else "no"


def figure(value: float, *, sign: bool = False) -> str:
    """Three decimals; a dash for nan."""
    if math.isnan(value):
        return NOTHING
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def interval(found: Interval, *, sign: bool = False) -> str:
    """A mean with its interval; a dash where there are no rows."""
    if math.isnan(found.mean):
        return NOTHING
    low, high = figure(found.low, sign=sign), figure(found.high, sign=sign)
    return f"{figure(found.mean, sign=sign)} [{low}, {high}]"


def sections(found: Sequence[Table]) -> Mapping[str, list[Table]]:
    """The tables by their section, in order."""
    by_name: dict[str, list[Table]] = {}
    for table in found:
        by_name.setdefault(table.section, []).append(table)
    return by_name
