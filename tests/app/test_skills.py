"""Skills, their versions, content and files over HTTP."""

from __future__ import annotations

import httpx
import pytest

from core.types import skill_id
from tests.support import CATALOGUE, EXAMPLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOLDERS = sorted(file.parent for file in (EXAMPLES / "skills").rglob("SKILL.md"))
WITH_FILES = next(folder for folder in FOLDERS if (folder / "references").is_dir())
PATH = WITH_FILES.relative_to(EXAMPLES / "skills").as_posix()
ID = skill_id(CATALOGUE, PATH)


async def test_pages_hold_every_skill_once(client: httpx.AsyncClient) -> None:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = (await client.get("/v1/skills", params={"limit": 7, "after": after or ""})).json()
        ids += [skill["id"] for skill in page["skills"]]
        after = page["next"]
        if after is None:
            break
    assert len(ids) == len(set(ids)) == len(FOLDERS)


async def test_a_skill_shows_its_fields_problems_and_history(client: httpx.AsyncClient) -> None:
    skill = (await client.get(f"/v1/skills/{ID}")).json()
    assert (skill["catalogue"], skill["path"]) == (CATALOGUE, PATH)
    assert skill["tokens"]["files"] > 0
    assert [version["live"] for version in skill["versions"]] == [True]


async def test_an_oddity_is_named_with_its_code(client: httpx.AsyncClient) -> None:
    found = []
    for folder in FOLDERS:
        place = folder.relative_to(EXAMPLES / "skills").as_posix()
        skill = (await client.get(f"/v1/skills/{skill_id(CATALOGUE, place)}")).json()
        found += [problem["code"] for problem in skill["problems"]]
    assert {"crlf", "no-description"} <= set(found)


async def test_content_is_the_file_byte_for_byte(client: httpx.AsyncClient) -> None:
    written = (WITH_FILES / "SKILL.md").read_bytes()
    live = await client.get(f"/v1/skills/{ID}/content")
    digest = (await client.get(f"/v1/skills/{ID}")).json()["digest"]
    version = await client.get(f"/v1/skills/{ID}/versions/{digest}/content")
    assert live.content == version.content == written
    assert live.headers["content-type"].startswith("text/markdown")
    assert live.headers["x-content-type-options"] == "nosniff"


async def test_every_file_of_a_version_can_be_fetched(client: httpx.AsyncClient) -> None:
    digest = (await client.get(f"/v1/skills/{ID}")).json()["digest"]
    base = f"/v1/skills/{ID}/versions/{digest}/files"
    files = (await client.get(base)).json()
    assert {file["path"] for file in files} == {
        file.relative_to(WITH_FILES).as_posix() for file in WITH_FILES.rglob("*") if file.is_file()
    }
    for file in files:
        fetched = await client.get(f"{base}/{file['path']}")
        assert fetched.content == (WITH_FILES / file["path"]).read_bytes()
        assert fetched.headers["content-disposition"] == "attachment"


async def test_a_file_that_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    digest = (await client.get(f"/v1/skills/{ID}")).json()["digest"]
    gone = await client.get(f"/v1/skills/{ID}/versions/{digest}/files/../../etc/passwd")
    assert gone.status_code == 404


async def test_catalogues_are_listed_with_their_sizes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/catalogues")).json() == [
        {"name": CATALOGUE, "skills": len(FOLDERS)}
    ]


async def test_health_and_readiness(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = (await client.get("/readyz")).json()
    assert ready["status"] == "ready" and ready["skills"] >= len(FOLDERS) - 1


async def test_metrics_are_served(client: httpx.AsyncClient) -> None:
    await client.post("/v1/route", json={"task": "split a pdf"})
    text = (await client.get("/metrics")).text
    assert "loadstar_routes_total{" in text and "loadstar_stage_seconds_bucket" in text
