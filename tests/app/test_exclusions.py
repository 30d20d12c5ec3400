"""What a skill's author says it is not for speaks against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.main import open_parts
from app.routing.contract import RouteRequest
from app.routing.router import Timings
from app.settings import AppSettings
from tests.support import index_skill

SKILL = """---
name: flask-deployment
description: Deploys Python web services to a virtual machine. Do not use for Kubernetes clusters.
---
# Deployment

Copy the service to the machine, install its packages, and restart the unit.
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_skill(tmp_path_factory.mktemp("deployment"), SKILL)


async def test_words_of_the_exclusion_alone_count_against_a_skill(deployment: Path) -> None:
    async with open_parts(AppSettings(data_dir=deployment)) as parts:
        found = []
        for place in ("the virtual machine", "our Kubernetes clusters"):
            request = RouteRequest(task=f"deploy the Python services to {place}", explain=True)
            answer = await parts.router.answer(request, parts.follower.snapshot, Timings())
            (features,) = (answer.explain or {})["features"].values()
            found.append((features["excluded"], answer.confidence))
    (none, fits), (excluded, does_not) = found
    assert none == 0 < excluded
    assert does_not < fits
