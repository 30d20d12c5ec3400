"""The second stage: who scored, how far, and that nothing waits past the deadline."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from app.main import create_app, load_second_stage, open_parts
from app.routing.second_stage import CHUNK, PARTIAL, Contender, Reranked, SecondStage
from app.routing.select import settled
from app.settings import AppSettings
from core.embedding import DEFAULT_ENCODER, MODELS, described_space
from core.errors import ModelMissingError
from core.telemetry import RERANK_DEGRADED
from core.types import Space
from reranker.interaction import Standing
from reranker.load import OWN_RERANKER
from reranker.overlap import OverlapReranker, Reranker
from reranker.pairs import Document
from reranker.policy import FALLBACK, SHIPPED, Policy, Scale, load_policy

DEADLINE_S = 0.2
PATIENCE_S = 10.0  # for what is not to be late on a busy machine either
OWN_SPACE = described_space(MODELS / DEFAULT_ENCODER)
SCALE = load_policy(SHIPPED).scale(FALLBACK).model_copy(update={"rerank_weight": 0.5})


class Double:
    """A reranker that scores by the number at the end of a body, once it may."""

    name = "double"
    listwise = False

    def __init__(self) -> None:
        self.calls = 0
        self.priced = 0
        self.before: Callable[[int], None] = lambda call: None

    def cost(self, task: str, documents: Sequence[Document]) -> list[int]:
        self.priced += len(documents)
        return [100] * len(documents)

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing]
    ) -> list[float]:
        assert len(standings) == len(documents)
        self.calls += 1
        self.before(self.calls)
        ends = [document.body.split()[-1] for document in documents]
        return [float(end) if end.isdecimal() else 0.0 for end in ends]


@pytest.fixture
def double() -> Double:
    return Double()


def policy(scale: Scale = SCALE) -> Policy:
    return Policy(id="p", arm_weights={"dense": 1}, scales={FALLBACK: SCALE, "double": scale})


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a stalled double waits for; set at the end, so that its thread can end."""
    event = threading.Event()
    yield event
    event.set()


def stage(
    reranker: Reranker,
    scale: Scale = SCALE,
    tokens: int = 10_000,
    deadline_s: float = PATIENCE_S,
) -> SecondStage:
    return SecondStage(reranker, policy(scale), deadline_s=deadline_s, tokens=tokens)


def contenders(*scores: float) -> list[Contender]:
    return [
        Contender(
            row=row,
            standing=Standing(fused=1 - row / 100, dense=None, lexical=None),
            document=Document(name=f"n{row}", description="split pdf", body=f"body {score:.0f}"),
        )
        for row, score in enumerate(scores)
    ]


async def timed(second: SecondStage, count: int = 10) -> tuple[Reranked, float]:
    started = time.monotonic()
    found = await second.score("split the pdf", contenders(*map(float, range(count))))
    return found, time.monotonic() - started


async def test_every_contender_is_scored_in_chunks_by_name(double: Double) -> None:
    found, _ = await timed(stage(double))
    assert found == Reranked(scores={row: float(row) for row in range(10)}, scored_by="double")
    assert double.calls == -(-10 // CHUNK)


async def test_a_failing_model_is_named_and_words_score_instead(double: Double) -> None:
    def fail(call: int) -> None:
        raise RuntimeError("the infer request was killed")

    double.before = fail
    before = RERANK_DEGRADED.labels("failed")._value.get()
    found, _ = await timed(stage(double))
    assert found.scored_by == "overlap" and set(found.scores) == set(range(10))
    assert RERANK_DEGRADED.labels("failed")._value.get() == before + 1


async def test_a_model_that_fails_halfway_keeps_what_it_scored_and_says_so(double: Double) -> None:
    def fail_later(call: int) -> None:
        if call == 2:
            raise RuntimeError("out of memory")

    double.before = fail_later
    found, _ = await timed(stage(double))
    assert found == Reranked(
        scores={row: float(row) for row in range(CHUNK)}, scored_by="double" + PARTIAL
    )


async def test_a_stalled_model_costs_one_deadline_and_then_nothing_until_it_is_back(
    double: Double, release: threading.Event
) -> None:
    double.before = lambda call: None if call > 1 else _wait(release)
    second = stage(double, deadline_s=DEADLINE_S)
    first, took = await timed(second)
    assert first.scored_by == "overlap" and DEADLINE_S <= took < 2 * DEADLINE_S
    again, took = await timed(second)
    assert again.scored_by == "overlap" and took < DEADLINE_S / 2
    release.set()
    await asyncio.sleep(0.05)
    assert (await timed(second))[0].scored_by == "double"


def _wait(event: threading.Event) -> None:
    event.wait(30)


async def test_what_the_deadline_cuts_off_is_partial(double: Double) -> None:
    double.before = lambda call: time.sleep(DEADLINE_S * 0.6)
    found, took = await timed(stage(double, deadline_s=DEADLINE_S))
    assert found.scored_by == "double" + PARTIAL and set(found.scores) == set(range(CHUNK))
    assert took < 2 * DEADLINE_S


class Listwise(Double):
    """Scores each by its place from the end of the list that it is asked about."""

    listwise = True

    def score(
        self, task: str, documents: Sequence[Document], standings: Sequence[Standing]
    ) -> list[float]:
        super().score(task, documents, standings)
        return [len(documents) - place for place in range(len(documents))]


async def test_a_listwise_model_is_asked_about_all_that_was_read(double: Double) -> None:
    listwise = Listwise()
    found, _ = await timed(stage(listwise))
    assert found.scores == {row: 10 - row for row in range(10)}
    assert listwise.calls == -(-10 // CHUNK)


@pytest.mark.parametrize(("enough", "scored"), [(4.0, CHUNK), (5.0, 2 * CHUNK), (99.0, 10)])
async def test_a_listwise_model_ends_where_its_last_list_is_clear(
    enough: float, scored: int
) -> None:
    found, _ = await timed(stage(Listwise(), SCALE.model_copy(update={"enough": enough})))
    assert found.scores == {row: scored - row for row in range(scored)}


async def test_a_listwise_model_that_is_late_keeps_its_last_list() -> None:
    listwise = Listwise()
    listwise.before = lambda call: time.sleep(DEADLINE_S * 0.6)
    found, _ = await timed(stage(listwise, deadline_s=DEADLINE_S))
    assert found.scored_by == "double" + PARTIAL
    assert found.scores == {row: CHUNK - row for row in range(CHUNK)}


async def test_a_clear_lead_ends_the_scoring(double: Double) -> None:
    second = stage(double, SCALE.model_copy(update={"enough": 5.0}))
    sure = await second.score("split", contenders(9, 0, 0, 0, *[0] * 8))
    assert sure.scored_by == "double" and len(sure.scores) == CHUNK
    doubtful = await second.score("split", contenders(3, 0, 0, 0, *[0] * 8))
    assert len(doubtful.scores) == 12


async def test_no_more_tokens_are_spent_than_allowed_but_for_one_chunk(double: Double) -> None:
    assert len((await timed(stage(double, tokens=799)))[0].scores) == 7
    assert len((await timed(stage(double, tokens=10)))[0].scores) == CHUNK
    calls = double.calls
    assert len((await timed(stage(double, tokens=CHUNK * 100 + 99)))[0].scores) == CHUNK
    assert double.calls == calls + 1


async def test_what_a_skill_costs_is_asked_only_as_far_as_the_scoring_goes(double: Double) -> None:
    sure = stage(double, SCALE.model_copy(update={"enough": 5.0}))
    await sure.score("split", contenders(9, 0, 0, 0, *[0] * 8))
    assert double.priced == CHUNK


def test_without_a_calibrated_lead_everything_is_scored() -> None:
    assert SCALE.enough is None and not settled([(1.0, 99.0)], 0.0, SCALE)


async def test_word_overlap_is_asked_once_for_all(double: Double) -> None:
    found, _ = await timed(stage(OverlapReranker()))
    assert found.scored_by == "overlap" and len(found.scores) == 10


def test_our_own_model_whose_files_are_gone_leaves_word_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("core.embedding.MODELS", tmp_path)
    assert load_second_stage(AppSettings(), OWN_SPACE).name == "overlap"
    assert OWN_RERANKER in caplog.text and "Restore the file" in caplog.text


def test_any_other_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"reranker\.json"):
        load_second_stage(AppSettings(reranker=str(tmp_path)), OWN_SPACE)


def test_our_own_model_serves_only_the_encoder_that_it_was_trained_over(
    tmp_path: Path, space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_second_stage(AppSettings(), OWN_SPACE).name == OWN_RERANKER
    assert load_second_stage(AppSettings(), space).name == "overlap"
    assert "finds, not on 'tiny'" in caplog.text
    mine = shutil.copytree(MODELS / OWN_RERANKER, tmp_path / "mine")
    with pytest.raises(ModelMissingError, match="Train one for it"):
        load_second_stage(AppSettings(reranker=str(mine)), space)


async def test_a_route_over_a_stalled_model_is_answered_by_name_within_its_deadline(
    indexed_examples: Path, tmp_path: Path, double: Double, release: threading.Event
) -> None:
    data = shutil.copytree(indexed_examples, tmp_path / "data")
    settings = AppSettings(data_dir=data, rerank_deadline_s=DEADLINE_S)
    async with open_parts(settings, double) as parts:
        double.before = lambda call: _wait(release)
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            task = "three scanned contracts have to become one PDF without the blank pages"
            reply = (await client.post("/v1/route", json={"task": task})).json()
    assert reply["scored_by"] == "overlap" and reply["models"]["reranker"] == "double"
    assert reply["timings_ms"]["rerank"] < 2 * DEADLINE_S * 1000
    assert reply["skills"][0]["path"] == "documents/pdf-merge-split"
