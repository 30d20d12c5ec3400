"""What one evaluation found, as the tables, plots and files show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.decision_metrics import DecisionReport, FalseLoads
from evaluation.types import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where figures come from: with it they can be made again."""

    command: str
    at: str  # ISO date and time, UTC
    commit: str  # of the project, with `-dirty` where files differed from it
    machine: Mapping[str, str]  # processor, cores, memory, system, Python
    data: Mapping[str, str]  # sha256 by file name
    split: str  # which rows were scored: train, calibration, test, or the file's own
    split_checksum: str  # of the whole assignment; "" for an operator's own file
    skills: int  # in the index
    pool: str  # what is indexed: quick, full, or the data folder's own
    space: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRow:
    """One system over one set of queries within one scope."""

    source: str
    scope: str  # a catalogue or `pool`
    standing: str  # `unnamed`: all that do not name their skill; or one Standing, apart
    system: str
    metrics: Mapping[str, Interval]
    p50_ms: float
    p95_ms: float
    tokens_per_skill: float  # spent by the embedder on each skill of the scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two systems over the same queries: the paired difference of one metric, `one` - `other`."""

    source: str
    scope: str
    metric: str
    one: str
    other: str
    difference: Interval
    verdict: str  # better, worse or no difference: of `one`


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One system over one part of the queries of every set, e.g. those of one language."""

    by: str  # standing, set, length, language, needed
    part: str
    scope: str  # `catalogue`: each query within its own; or `pool`
    system: str
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLine:
    """Decisions of one policy over one kind of rows."""

    rows: str  # which rows: e.g. `present or removed`, `tools or none`
    source: str
    scope: str  # a catalogue, `catalogues` for all of them, or `pool`
    policy: str  # its id, or how it was fitted
    report: DecisionReport


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseLine:
    """What `max_false_load` kept over one kind of negatives."""

    negatives: str  # names them
    scope: str
    policy: str
    max_false_load: float
    false_loads: FalseLoads
    loads_of_useful: float  # share of the rows with a useful skill that are still loaded; nan: none


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLine:
    """One way to choose skills for one kind of tasks."""

    rows: str  # how many skills they need
    source: str
    chosen: str  # how
    full_coverage: Interval  # share of the tasks with every skill needed among those chosen
    coverage: Interval  # share of the skills needed
    exactly_one: float  # share of the tasks for which one skill was chosen
    skills: float  # chosen, on average
    tokens: float  # of their bodies, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that one run of `loadstar eval` found."""

    provenance: Provenance
    retrieval: tuple[RetrievalRow, ...]
    comparisons: tuple[Comparison, ...]
    parts: tuple[Part, ...]
    decisions: tuple[DecisionLine, ...]
    promises: tuple[PromiseLine, ...]
    sets: tuple[SetLine, ...] = ()
    notes: tuple[str, ...] = ()
