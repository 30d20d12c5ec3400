"""What a step asks: drawn sources, what is hidden, and which other skills may answer."""

from __future__ import annotations

import numpy as np
import pytest

from core.embedding import HashingEmbedder
from core.types import PassageKind
from reranker.learn.batches import Kinship
from reranker.learn.examples import Source, TrainingSkill
from reranker.learn.questions import Answers, drawn, hidden_parts

SHARED = "make my documents smaller"


def skill(name: str, **queries: str) -> TrainingSkill:
    return TrainingSkill(
        place=f"acme/tools/{name}",
        name=name,
        passages={PassageKind.ROUTING: f"{name} does what {name} does"},
        queries={Source[source.upper()]: (text,) for source, text in queries.items()},
    )


@pytest.fixture
def skills() -> list[TrainingSkill]:
    return [
        skill("pdf-shrink", request=SHARED, trigger="Use it for big files. Not for small ones."),
        skill("zip-folder", request=SHARED),
        skill("bake-bread", request="how long does dough rise"),
    ]


def test_a_text_that_two_skills_answer_is_wrong_for_neither(skills: list[TrainingSkill]) -> None:
    vectors = HashingEmbedder().embed([each.routing for each in skills])
    answers = Answers(skills, Kinship(skills, vectors))
    rows, owner = np.array([2, 0, 1]), np.array([0, 1, 2])
    asked = [skills[row].queries[Source.REQUEST][0] for row in rows]
    found = answers.uncertain(rows, asked, owner)
    expected = [[False, False, False], [False, False, True], [False, True, False]]
    assert found.tolist() == expected


def test_only_wanted_sources_are_drawn_each_once(skills: list[TrainingSkill]) -> None:
    generator = np.random.default_rng(1)
    both = drawn(skills[0], set(Source), 2, generator)
    assert {source for source, _ in both} == {Source.REQUEST, Source.TRIGGER}
    assert drawn(skills[0], {Source.REQUEST}, 2, generator) == [(Source.REQUEST, SHARED)]
    assert drawn(skills[0], {Source.TASK}, 2, generator) == []


def test_the_name_is_hidden_from_what_the_skill_asks_itself(skills: list[TrainingSkill]) -> None:
    generator = np.random.default_rng(1)
    own = [(Source.TRIGGER, "Use it for big files. Not for small ones.")]
    asked = [(Source.REQUEST, SHARED)]
    name, said = hidden_parts(skills[0], own, 0.01, generator)
    assert name == "pdf-shrink" and len(said) == 2
    assert hidden_parts(skills[0], own, 0.0, generator)[0] == ""
    hidden = [hidden_parts(skills[0], asked, 0.5, generator) for _ in range(200)]
    assert all(said == [] for _, said in hidden)
    assert 70 < sum(name == "pdf-shrink" for name, _ in hidden) < 130
