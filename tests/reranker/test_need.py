"""Whether a task needs a skill: the shipped probe, its fit, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.embedding import DEFAULT_ENCODER, HashingEmbedder, load_embedder
from core.errors import ModelMissingError
from reranker.learn.examples import TasksError
from reranker.learn.fit_need import fit_need, read_needless
from reranker.need import load_need

NEEDING = (
    "Merge the three quarterly contracts in legal/ into one PDF with bookmarks and page numbers.",
    "Our Helm chart fails to upgrade on the staging cluster; find out why and mend the chart.",
    "Write Apex tests for OpportunityTrigger so that the deployment passes the coverage gate.",
)
NEEDLESS = (
    "thanks a lot, see you on Monday!",
    "who painted the Mona Lisa?",
    "could you say that in fewer words",
)


def test_the_shipped_probe_tells_work_from_talk() -> None:
    embedder = load_embedder(DEFAULT_ENCODER)
    need = load_need(embedder.space)
    assert need is not None
    logits = [need.logit(vector) for vector in embedder.embed([*NEEDING, *NEEDLESS])]
    assert min(logits[:3]) > 0 > max(logits[3:])


def test_there_is_no_probe_for_another_encoder() -> None:
    assert load_need(HashingEmbedder().space) is None


def test_a_fit_tells_apart_what_can_be_and_names_its_encoder() -> None:
    random = np.random.default_rng(0)
    needing = random.normal(0.5, 0.2, (200, 4)).astype(np.float32)
    needless = random.normal(-0.5, 0.2, (20, 4)).astype(np.float32)
    need = fit_need(needing, needless, "revision")
    right = [need.logit(vector) > 0 for vector in needing] + [
        need.logit(vector) < 0 for vector in needless
    ]
    assert np.mean(right) > 0.98 and need.encoder == "revision"


def test_both_kinds_count_alike_whatever_their_number() -> None:
    same = np.ones((1, 2), dtype=np.float32)
    assert fit_need(np.repeat(same, 90, axis=0), same, "e").logit(same[0]) == pytest.approx(
        0, abs=1e-3
    )


def test_one_kind_alone_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit_need(np.ones((3, 2), dtype=np.float32), np.zeros((0, 2), dtype=np.float32), "e")


def test_every_needless_message_is_there_once_and_every_kind_many_times() -> None:
    found = read_needless()
    kinds = [each.kind for each in found]
    assert len({each.text for each in found}) == len(found) >= 500
    assert min(kinds.count(kind) for kind in set(kinds)) >= 50 and len(set(kinds)) == 7


def test_a_line_that_is_no_message_is_named(tmp_path: Path) -> None:
    file = tmp_path / "needless.jsonl"
    file.write_text('{"text": "hello", "kind": "small_talk"}\n{"text": "hello"}\n')
    with pytest.raises(TasksError, match=r"needless\.jsonl, line 2"):
        read_needless(file)


@pytest.mark.parametrize("content", ["{", '{"encoder": "e"}'])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "need.json"
    space = replace(HashingEmbedder().space, revision="e")
    with pytest.raises(ModelMissingError, match=r"need\.json"):
        load_need(space, file)
    file.write_text(content)
    with pytest.raises(ModelMissingError, match=r"need\.json"):
        load_need(space, file)
