"""Lists that a reranker learns from: what is in them, and what must not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.embedding import HashingEmbedder
from core.skill_format import parse
from core.types import Vectors
from reranker.learn.batches import Kinship
from reranker.learn.examples import Source, TrainingSkill, training_skill, with_queries
from reranker.learn.lists import DEPTH, FirstStage, Lists, catalogue_of, questions
from reranker.learn.run import TrainingError
from tests.support import EXAMPLES

EMBEDDER = HashingEmbedder()
SHARED = "make my documents smaller"
MISSED = "zebra crossing"


@pytest.fixture(scope="module")
def skills() -> list[TrainingSkill]:
    """The sample skills, every second one in another catalogue, each asked for by a request."""
    files = sorted((EXAMPLES / "skills").rglob("SKILL.md"))
    found = []
    for number, file in enumerate(files):
        skill = training_skill(
            f"owner/{'even' if number % 2 == 0 else 'odd'}/{file.parent.name}",
            parse(file.read_bytes(), fallback_name=file.parent.name),
        )
        asked = skill.document.description[:60] + "?"
        found.append(with_queries(skill, {Source.REQUEST: [asked]}))
    found[0] = with_queries(found[0], {Source.REQUEST: [SHARED]})
    found[3] = with_queries(found[3], {Source.REQUEST: [SHARED]})
    return found


def vectors(skills: list[TrainingSkill]) -> Vectors:
    return EMBEDDER.embed([skill.routing for skill in skills])


def stage(skills: list[TrainingSkill]) -> FirstStage:
    passages = [EMBEDDER.embed(list(skill.passages.values())) for skill in skills]
    return FirstStage(skills, EMBEDDER, passages, {"dense": 0.3, "lexical": 0.7})


def lists(skills: list[TrainingSkill], kinship: Kinship | None = None) -> Lists:
    return Lists(skills, stage(skills), kinship or Kinship(skills, vectors(skills)))


def drawn(of: Lists, count: int = 40, none: float = 0.0, seed: int = 1):  # type: ignore[no-untyped-def]
    return of.draw(3, count, 8, none, seed)


def test_a_text_that_two_skills_answer_is_one_question(skills: list[TrainingSkill]) -> None:
    right = {question.text: question.right for question in questions(skills)}
    assert right[SHARED] == (0, 3)


def test_the_first_stage_finds_what_is_asked_for(skills: list[TrainingSkill]) -> None:
    first = stage(skills)
    (description,) = skills[5].queries[Source.DESCRIPTION]
    best, *others = first.fused(description, None, 6)
    assert best[0] == 5 and all(score <= best[1] for _, score in others)
    home = catalogue_of(skills[5])
    assert {catalogue_of(skills[row]) for row, _ in first.fused(description, home, 6)} == {home}


def test_a_list_opens_with_what_is_right_and_holds_nothing_that_may_be(
    skills: list[TrainingSkill],
) -> None:
    kinship = Kinship(skills, vectors(skills))
    for each in drawn(lists(skills)):
        assert 1 <= each.right <= 2 and len(each.rows) == len(set(each.rows)) <= 8
        assert set(each.rows[: each.right]) <= set(each.question.right)
        wrong = np.array(each.rows[each.right :])
        assert len(wrong) >= 4
        assert not kinship.may_share(np.array(each.question.right), wrong).any()


def test_half_of_the_lists_are_of_the_right_skills_catalogue(skills: list[TrainingSkill]) -> None:
    alone = [
        len({catalogue_of(skills[row]) for row in each.rows}) == 1
        for each in drawn(lists(skills), 100)
    ]
    assert 0.3 < sum(alone) / len(alone) < 0.7


def test_what_the_first_stage_misses_is_no_list(skills: list[TrainingSkill]) -> None:
    together = [replace(skill, place=skill.place.replace("even", "odd")) for skill in skills]
    found = {row for row, _ in stage(together).fused(MISSED, None, DEPTH)}
    (hidden, *_) = set(range(len(skills))) - found
    together[hidden] = with_queries(together[hidden], {Source.REQUEST: [MISSED]})
    assert MISSED not in {each.question.text for each in drawn(lists(together), 200)}


def test_what_a_skill_asks_of_itself_is_no_list(skills: list[TrainingSkill]) -> None:
    assert {each.question.source for each in drawn(lists(skills), 50)} == {Source.REQUEST}


def test_no_skill_is_right_more_often_for_being_asked_for_more(
    skills: list[TrainingSkill],
) -> None:
    (asked,) = skills[6].queries[Source.REQUEST]
    often = [f"{asked} {word}" for word in ("please", "now", "today", "thanks", "again", "soon")]
    popular = [*skills[:6], with_queries(skills[6], {Source.REQUEST: often}), *skills[7:]]
    found = drawn(lists(popular), 300)
    share = np.mean([6 in each.question.right for each in found])
    assert share < 3 / len(skills)


def test_a_close_skill_of_another_catalogue_may_be_right_too(skills: list[TrainingSkill]) -> None:
    """Skill 1 is made similar, by .85, to every other: it may appear in its own catalogue only."""
    near = vectors(skills)
    hub = near[1].copy()
    for row in range(len(skills)):
        if row != 1:
            near[row] = 0.85 * hub + 0.5268 * _perpendicular(near[row], hub)
    found = drawn(lists(skills, Kinship(skills, near)), 80)
    asked_by = {catalogue_of(skills[e.question.right[0]]) for e in found if 1 in e.rows[e.right :]}
    assert asked_by == {catalogue_of(skills[1])}


def _perpendicular(vector: Vectors, to: Vectors) -> Vectors:
    rest: Vectors = vector - (vector @ to) * to
    length = np.linalg.norm(rest)
    unit: Vectors = rest / length if length > 1e-6 else np.roll(to, 1)
    return unit


def test_the_same_step_and_seed_draw_the_same_lists(skills: list[TrainingSkill]) -> None:
    assert drawn(lists(skills)) == drawn(lists(skills))
    assert drawn(lists(skills)) != drawn(lists(skills), seed=2)


def test_a_share_of_the_lists_holds_no_right_skill(skills: list[TrainingSkill]) -> None:
    without = [each for each in drawn(lists(skills), 100, none=0.3) if not each.right]
    assert 15 <= len(without) <= 45
    assert all(set(each.rows).isdisjoint(each.question.right) for each in without)


def test_skills_of_one_name_are_never_set_against_each_other(skills: list[TrainingSkill]) -> None:
    half = [replace(skill, name="same") if n % 2 else skill for n, skill in enumerate(skills)]
    for each in drawn(lists(half)):
        named = [half[row].name == "same" for row in each.rows]
        assert not (named[0] and any(named[each.right :]))


def test_a_run_without_questions_or_whose_questions_find_nothing_is_refused(
    skills: list[TrainingSkill],
) -> None:
    unasked = [replace(skill, queries={}) for skill in skills]
    with pytest.raises(TrainingError, match="asked for"):
        lists(unasked)
    alike = [replace(skill, name="same") for skill in skills]
    with pytest.raises(TrainingError, match="no lists"):
        drawn(lists(alike), 1)
