"""Order, twins and snippets of the ranked candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.routing.select import collapse_twins, order, snippet
from core.minhash import signature
from core.types import (
    Candidate,
    Passage,
    PassageKind,
    Scored,
    SkillVersion,
    TokenCounts,
    Trust,
)

BODY = "Open every file with the reader, then write the pages in order. " * 6


def version(row: int, *, digest: str = "", body: NDArray[np.uint32] | None = None) -> SkillVersion:
    return SkillVersion(
        row=row,
        skill_id=f"skl_{row}",
        catalogue="a/b",
        path=str(row),
        digest=digest or f"sha256:{row}",
        declared_version=None,
        name=f"name-{row}",
        description="Does **things**.",
        triggers=(),
        body="",
        licence=None,
        language="en",
        tags=(),
        trust=Trust.UNREVIEWED,
        routable=True,
        tokens=TokenCounts(routing=1, body=1, files=0),
        signature=signature(f"text of row {row}") if body is None else body,
        passages=(
            Passage(kind=PassageKind.ROUTING, section="", line=1, text="name\nDoes things."),
            Passage(kind=PassageKind.BODY, section="Steps", line=9, text="name\nFirst, read."),
        ),
    )


def ranked(*versions: SkillVersion, fused: tuple[float, ...] = (), named: int = -1) -> list[Scored]:
    scores = fused or tuple(1 - place / 10 for place in range(len(versions)))
    candidates = [
        Candidate(row=v.row, score=score, arm_scores={}, passage=1)
        for v, score in zip(versions, scores, strict=True)
    ]
    by_row = {v.row: v for v in versions}
    return order(candidates, by_row, {}, rerank_weight=0.5, named={named})


def rows(scored: list[Scored]) -> list[int]:
    return [s.version.row for s in scored]


def test_the_fused_and_the_rerankers_score_are_mixed() -> None:
    candidates = [
        Candidate(row=1, score=0.9, arm_scores={}, passage=None),
        Candidate(row=2, score=0.8, arm_scores={}, passage=None),
    ]
    versions = {1: version(1), 2: version(2)}
    mixed = order(candidates, versions, {1: 0.0, 2: 1.0}, rerank_weight=0.5, named=set())
    assert rows(mixed) == [2, 1] and mixed[0].score == 0.9


def test_a_named_skill_comes_first_whatever_its_score() -> None:
    assert rows(ranked(version(1), version(2), fused=(0.9, 0.1), named=2)) == [2, 1]


def test_equal_scores_are_ordered_by_row() -> None:
    assert rows(ranked(version(7), version(3), fused=(0.5, 0.5))) == [3, 7]


def test_the_same_content_is_answered_once_with_the_others_listed() -> None:
    same = "sha256:same"
    kept = collapse_twins(ranked(version(1, digest=same), version(2), version(3, digest=same)))
    assert rows(kept) == [1, 2]
    assert [twin.row for twin in kept[0].twins] == [3]


def test_bodies_that_differ_in_a_word_are_twins_and_others_are_not() -> None:
    long_body = " ".join(f"step {i} does thing {i * 7}" for i in range(80))
    near = signature(long_body.replace("step 3 ", "stage 3 "))
    kept = collapse_twins(
        ranked(version(1, body=signature(long_body)), version(2, body=near), version(3))
    )
    assert rows(kept) == [1, 3]


def test_the_snippet_is_the_passage_that_matched_without_the_name() -> None:
    assert snippet(ranked(version(1))[0]) == ("Steps", "First, read.")
