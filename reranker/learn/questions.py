"""Which of a skill's queries a step asks, and which skills may answer them all."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from reranker.learn.batches import Kinship, Rows
from reranker.learn.examples import OWN, Source, TrainingSkill, sentences

SHARES = {
    Source.DESCRIPTION: 1.0,
    Source.TRIGGER: 1.0,
    Source.SECTION: 0.5,
    Source.QUOTED: 1.5,
    Source.PROMPT: 3.0,
    Source.TASK: 3.0,
    Source.REQUEST: 3.0,
}
"""How often a source of a skill is drawn beside its others: what people wrote for it, first."""


def drawn(
    skill: TrainingSkill, sources: Collection[Source], count: int, generator: np.random.Generator
) -> list[tuple[Source, str]]:
    """At most `count` of the skill's queries, of different ones of these sources."""
    held = [source for source in skill.queries if source in sources]
    if not held:
        return []
    shares = np.array([SHARES[source] for source in held])
    picked = generator.choice(
        len(held), min(count, len(held)), replace=False, p=shares / shares.sum()
    )
    return [
        (held[place], str(generator.choice(np.array(skill.queries[held[place]], object))))
        for place in picked
    ]


def hidden_parts(
    skill: TrainingSkill,
    asked: Sequence[tuple[Source, str]],
    mask: float,
    generator: np.random.Generator,
) -> tuple[str, list[str]]:
    """The name to leave out, empty for none, and the sentences of the skill's own that are asked.

    What the skill says of itself would be found by its name; for questions of people the name is
    left out by a chance of `mask`, and never at 0.
    """
    said = [part for source, text in asked if source in OWN for part in sentences(text)]
    hidden = bool(said) or generator.random() < mask
    return (skill.name if hidden and mask else ""), said


class Answers:
    """Which skills of a batch may be right for a query that is not theirs."""

    def __init__(self, skills: Sequence[TrainingSkill], kinship: Kinship) -> None:
        self._kinship = kinship
        self._shared = _shared_texts(skills)

    def uncertain(self, rows: Rows, queries: Sequence[str], owner: Rows) -> NDArray[np.bool_]:
        """Shape (queries, rows); `owner` says which of `rows` each query is of."""
        found = self._kinship.may_share(rows, rows)[owner]
        for number, text in enumerate(queries):
            if text in self._shared:
                found[number] |= np.isin(rows, self._shared[text])
        found[np.arange(len(owner)), owner] = False
        return found


def _shared_texts(skills: Sequence[TrainingSkill]) -> dict[str, Rows]:
    """Queries that several skills answer, with those."""
    owners: dict[str, list[int]] = {}
    for row, skill in enumerate(skills):
        for text in {text for texts in skill.queries.values() for text in texts}:
            owners.setdefault(text, []).append(row)
    return {text: np.array(rows) for text, rows in owners.items() if len(rows) > 1}
