"""Each system against what it claims to be, over small indexes and real rankings."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from app.settings import AppSettings
from core.embedding import HashingEmbedder
from core.types import ArmHit, text_hash
from evaluation.bm25_systems import Words, rank_bm25, sparse_bm25, words_by_row
from evaluation.datasets import read_labelled, read_skills
from evaluation.description_system import description_text, embedded, read_descriptions
from evaluation.loco_system import best_dense_weight, folds_of
from evaluation.systems import Bench, open_bench, run
from evaluation.types import POOL, Split
from evaluation.untuned_system import read_untuned
from indexer.settings import IndexerSettings
from tests.evaluation.rows import a_query
from tests.evaluation.small_folder import FIRST, SECOND, write_folder
from tests.support import CATALOGUE, EXAMPLES, index_folder

TASKS = ("merge the scanned pages into one PDF", "why is this query slow", "deploy to kubernetes")


def unheard(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("systems")
    settings = IndexerSettings(data_dir=folder, encoder="hashing")
    asyncio.run(index_folder(settings, EXAMPLES / "skills", CATALOGUE))
    return folder


@pytest.fixture
async def bench(data_dir: Path) -> AsyncIterator[Bench]:
    async with open_bench(AppSettings(data_dir=data_dir, encoder="hashing")) as bench:
        yield bench


async def test_bm25s_ranks_as_rank_bm25_does(bench: Bench) -> None:
    # Words that few skills hold: for those the two formulas are the same.
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(200)]
    words: Words = {row: rng.choices(vocabulary, k=30) for row in bench.places}
    dense, sparse = rank_bm25(bench, CATALOGUE, words), sparse_bm25(bench, words)
    for _ in range(20):
        task = " ".join(rng.choices(vocabulary, k=5))
        one, other = await dense.answer(task), await sparse.answer(task)
        matched = sum(score > 0 for score in one.scores)
        assert matched >= 3 and one.places[:matched] == other.places[:matched]


async def test_a_task_without_words_is_no_error(bench: Bench) -> None:
    words = await words_by_row(bench)
    assert (await sparse_bm25(bench, words).answer("?!")).places == ()
    await rank_bm25(bench, CATALOGUE, words).answer("?!")


async def test_every_system_answers_every_query_with_its_latency(
    bench: Bench, tmp_path: Path
) -> None:
    queries = [a_query(f"q{n}", text=task) for n, task in enumerate(TASKS)]
    descriptions = await read_descriptions(
        bench, Path(bench.parts.engine.url.database or "").parent, unheard
    )
    for system in (
        rank_bm25(bench, CATALOGUE, await words_by_row(bench)),
        bench.lexical(CATALOGUE),
        descriptions.system(bench, CATALOGUE),
        bench.dense(CATALOGUE),
        bench.fused(CATALOGUE, bench.policy.arm_weights),
        bench.reranked(CATALOGUE),
    ):
        found = await run(system, queries)
        assert found.rankings.keys() == {"q0", "q1", "q2"}
        for ranking in found.rankings.values():
            assert ranking.latency_ms > 0 and ranking.places
            assert len(set(ranking.places)) == len(ranking.places) == len(ranking.scores)


async def test_only_systems_with_an_encoder_spend_tokens_and_a_description_spends_fewer(
    bench: Bench, tmp_path: Path
) -> None:
    descriptions = await read_descriptions(bench, tmp_path, unheard)
    assert bench.lexical(POOL).tokens_per_skill == 0
    spent = descriptions.system(bench, POOL).tokens_per_skill
    assert 0 < spent < bench.dense(POOL).tokens_per_skill


async def test_the_router_s_answer_opens_the_reranked_ranking(bench: Bench) -> None:
    ranking = await bench.reranked(CATALOGUE).answer(TASKS[0])
    assert ranking.places[0] == f"{CATALOGUE}/documents/pdf-merge-split"
    assert ranking.decision in {"load", "consider", "none"} and ranking.p_useful is not None
    assert len(ranking.places) > 10  # what the router did not read back follows


def test_a_description_text_holds_nothing_of_the_body() -> None:
    assert description_text("pdf-merge", "Merge\n PDFs.") == "pdf merge\nMerge PDFs."


def test_a_text_is_embedded_once(tmp_path: Path) -> None:
    file, embedder = tmp_path / "vectors.npz", HashingEmbedder()
    heard: list[str] = []
    first = embedded(embedder, ["one", "two"], file, heard.append)
    assert heard == ["embedding 0 of 2 texts with hashing"]
    written = file.stat().st_mtime_ns
    assert embedded(embedder, ["two", "one"], file, heard.append).keys() == first.keys()
    assert file.stat().st_mtime_ns == written and len(heard) == 1
    more = embedded(embedder, ["one", "three"], file, heard.append)
    assert np.array_equal(more[text_hash("one")], first[text_hash("one")])
    assert np.allclose(more[text_hash("three")], embedder.embed(["three"])[0], atol=1e-3)
    assert len(embedded(embedder, [], file, unheard)) == 3


def hits(*rows: int) -> list[ArmHit]:
    return [
        ArmHit(row=row, score=1 / rank, share=1 / rank) for rank, row in enumerate(rows, start=1)
    ]


# Of equal scores the lower row is ranked first: row 1, the wrong one.
RIGHT, WRONG = 2, 1


@pytest.mark.parametrize(
    ("dense", "lexical", "weight"), [(RIGHT, WRONG, 0.6), (WRONG, RIGHT, 0.4), (RIGHT, RIGHT, 0.5)]
)
def test_the_weight_goes_to_the_arm_that_is_right(dense: int, lexical: int, weight: float) -> None:
    query = a_query("q", "o/r/right", catalogue="o/r")
    other = {RIGHT: WRONG, WRONG: RIGHT}
    found = {"q": {"dense": hits(dense, other[dense]), "lexical": hits(lexical, other[lexical])}}
    places = {RIGHT: "o/r/right", WRONG: "o/r/wrong"}
    assert best_dense_weight([query], found, places, {}) == weight


def test_every_catalogue_has_the_same_say_in_the_weight() -> None:
    large = [a_query(f"l{n}", "o/l/right", catalogue="o/l") for n in range(10)]
    small = [a_query(f"s{n}", "o/l/right", catalogue="o/s") for n in range(2)]
    by_meaning = {"dense": hits(RIGHT, WRONG), "lexical": hits(WRONG, RIGHT)}
    by_words = {"dense": hits(WRONG, RIGHT), "lexical": hits(RIGHT, WRONG)}
    # 7 of 12 queries need the dense arm, but in the mean of the catalogues 0.35.
    found = {query.qid: by_meaning for query in large[:7]}
    found |= {query.qid: by_words for query in (*large[7:], *small)}
    places = {RIGHT: "o/l/right", WRONG: "o/l/wrong"}
    assert best_dense_weight([*large, *small], found, places, {}) == 0.4


def test_no_row_that_taught_the_encoder_has_a_say_in_the_weight(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rows")
    skills = read_skills(folder)
    folds = folds_of(read_labelled(folder, skills), skills, [FIRST, SECOND])
    assert {fold.catalogue for fold in folds} == {FIRST, SECOND}
    assert {query.split for fold in folds for query in fold.fit} == {Split.CALIBRATION}


async def test_untuned_systems_are_the_start_encoder_over_the_same_passages(
    bench: Bench, tmp_path: Path
) -> None:
    untuned = await read_untuned(bench, tmp_path, unheard)
    assert untuned is not None
    dense, fused = untuned.systems(bench, CATALOGUE)
    assert (dense.name, fused.name) == ("dense-untuned", "fused-untuned")
    texts = [text for row in bench.rows_within(CATALOGUE) for text in untuned.texts[row]]
    cosines = untuned.embedder.embed(texts) @ untuned.embedder.embed([TASKS[0]])[0]
    found = await dense.answer(TASKS[0])
    assert found.scores[0] == pytest.approx(cosines.max(), abs=2e-3)
    best = next(
        bench.places[row]
        for row, held in untuned.texts.items()
        if texts[int(cosines.argmax())] in held
    )
    assert found.places[0] == best
    assert set((await fused.answer(TASKS[0])).places) >= {best}
