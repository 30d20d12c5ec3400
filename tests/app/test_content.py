"""Content by level: what is sent, what it costs, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.dependencies import Parts
from core.skill_format import parse
from core.types import skill_id
from indexer.settings import IndexerSettings
from tests.support import CATALOGUE, EXAMPLES, index_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOLDERS = sorted(file.parent for file in (EXAMPLES / "skills").rglob("SKILL.md"))
PATHS = [folder.relative_to(EXAMPLES / "skills").as_posix() for folder in FOLDERS]
PDF = skill_id(CATALOGUE, "documents/pdf-merge-split")
PDF_TASK = "three scanned contracts have to become one PDF without the blank pages"
BOOKMARKS_TASK = "split this PDF into one file for each of its bookmarks, named by outline title"
LEVELS = ["routing", "section", "body"]

OTHERS = "acme/odd"
BREAD = skill_id(OTHERS, "bread")
BREAD_FILE = """---
name: bread
description: Bakes bread.
---
Read this first.

# Bread

## Dough

Mix.

### Rye

Sour.

#### Starter

Feed it.

### Wheat

Knead.

## Bake

Hot.

## Dough

Again.
"""
DOUGH = "## Dough\n\nMix.\n\n### Rye\n\nSour.\n\n#### Starter\n\nFeed it.\n\n### Wheat\n\nKnead."


@pytest.fixture(scope="module")
def data_dir(indexed_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample skills, and a package with sub-sections and files that are no text."""
    folder = tmp_path_factory.mktemp("content")
    shutil.copytree(indexed_examples, folder / "data")
    package = folder / "source" / "bread"
    package.mkdir(parents=True)
    (package / "SKILL.md").write_text(BREAD_FILE)
    (package / "notes.md").write_bytes("Crème brûlée\r\n".encode())
    (package / "oven.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    settings = IndexerSettings(data_dir=folder / "data")
    asyncio.run(index_folder(settings, folder / "source", OTHERS))
    return folder / "data"


async def content(client: httpx.AsyncClient, skill: str, **asked: str) -> dict[str, Any]:
    response = await client.get(f"/v1/skills/{skill}/content", params=asked)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def refused(
    client: httpx.AsyncClient, status: int, code: str, skill: str, **asked: str
) -> dict[str, Any]:
    response = await client.get(f"/v1/skills/{skill}/content", params=asked)
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    return problem


async def route(client: httpx.AsyncClient, task: str, **more: Any) -> dict[str, Any]:
    response = await client.post("/v1/route", json={"task": task, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def hexdigest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_of(path: str) -> bytes:
    return (EXAMPLES / "skills" / path / "SKILL.md").read_bytes()


async def test_without_a_level_it_is_the_file_byte_for_byte(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/v1/skills/{PDF}/content", params={"section": "Size"})
    assert response.content == file_of("documents/pdf-merge-split")
    assert response.headers["content-type"].startswith("text/markdown")


async def test_routing_is_name_and_description(client: httpx.AsyncClient) -> None:
    skill = (await client.get(f"/v1/skills/{PDF}")).json()
    sent = await content(client, PDF, level="routing")
    assert sent["content"] == f"{skill['name']}\n{skill['description']}"
    assert (sent["section"], sent["path"]) == (None, None)


async def test_the_body_is_the_file_without_its_frontmatter(client: httpx.AsyncClient) -> None:
    for path in PATHS:
        sent = await content(client, skill_id(CATALOGUE, path), level="body")
        text = file_of(path).decode("utf-8-sig").replace("\r\n", "\n")
        assert sent["content"] == text.split("\n---\n", 1)[1].strip("\n")


async def test_every_section_is_listed_with_its_line_and_can_be_fetched_at_its_price(
    client: httpx.AsyncClient,
) -> None:
    for path in PATHS[::8]:
        skill, lines = skill_id(CATALOGUE, path), file_of(path).decode().splitlines()
        for section in (await content(client, skill, level="routing"))["sections"]:
            heading = section["heading"]
            sent = await content(client, skill, level="section", section=heading)
            written = f"{'#' * section['level']} {heading}"
            assert lines[section["line"] - 1] == written == sent["content"].splitlines()[0]
            assert (sent["section"], sent["tokens"]) == (heading, section["tokens"])


async def test_every_level_lists_the_same_sections(client: httpx.AsyncClient) -> None:
    draft = parse(BREAD_FILE.encode(), fallback_name="bread")
    wanted = [(section.heading, section.level, section.line) for section in draft.sections]
    for level in LEVELS:
        listed = (await content(client, BREAD, level=level, section="Bake"))["sections"]
        assert [(each["heading"], each["level"], each["line"]) for each in listed] == wanted


@pytest.mark.parametrize("level", [*LEVELS, "file"])
async def test_tokens_and_sha256_are_those_of_the_text_sent(
    client: httpx.AsyncClient, parts: Parts, level: str
) -> None:
    sent = await content(client, BREAD, level=level, section="Dough", path="notes.md")
    assert parts.embedder.count_tokens([sent["content"]]) == [sent["tokens"]]
    assert sent["sha256"] == hexdigest(sent["content"])
    assert (sent["id"], sent["level"]) == (BREAD, level)


async def test_the_body_costs_what_the_skill_says(client: httpx.AsyncClient) -> None:
    skill = (await client.get(f"/v1/skills/{PDF}")).json()
    assert (await content(client, PDF, level="body"))["tokens"] == skill["tokens"]["body"]


async def test_a_section_comes_with_those_below_it_and_no_further(
    client: httpx.AsyncClient,
) -> None:
    assert (await content(client, BREAD, level="section", section="Dough"))["content"] == DOUGH
    rye = (await content(client, BREAD, level="section", section="Rye"))["content"]
    assert rye == "### Rye\n\nSour.\n\n#### Starter\n\nFeed it."


async def test_the_text_before_the_first_heading_has_none(client: httpx.AsyncClient) -> None:
    sent = await content(client, BREAD, level="section", section="")
    assert (sent["section"], sent["content"]) == ("", "Read this first.")


async def test_a_heading_is_found_whatever_its_case_and_spaces(client: httpx.AsyncClient) -> None:
    sent = await content(client, PDF, level="section", section="  split AT\tbookmarks ")
    assert sent["section"] == "Split at bookmarks"


async def test_an_unknown_heading_is_answered_with_those_there_are(
    client: httpx.AsyncClient,
) -> None:
    problem = await refused(client, 404, "not_found", BREAD, level="section", section="Cake")
    assert "'Cake'" in problem["detail"] and "'Rye', 'Starter'" in problem["detail"]


async def test_a_section_without_its_heading_is_refused_with_those_there_are(
    client: httpx.AsyncClient,
) -> None:
    problem = await refused(client, 422, "invalid_request", BREAD, level="section")
    assert [error["field"] for error in problem["errors"]] == ["section"]
    assert "'Rye', 'Starter'" in problem["detail"]


async def test_a_file_is_sent_as_it_is(client: httpx.AsyncClient) -> None:
    sent = await content(client, BREAD, level="file", path="notes.md")
    assert (sent["content"], sent["path"]) == ("Crème brûlée\r\n", "notes.md")
    assert (sent["section"], sent["sections"]) == (None, [])
    files = (await client.get(f"/v1/skills/{BREAD}/versions/{sent['digest']}/files")).json()
    assert sent["sha256"] in {file["sha256"] for file in files}


async def test_a_file_that_is_no_text_is_refused_with_where_its_bytes_are(
    client: httpx.AsyncClient,
) -> None:
    path = "oven.png"
    problem = await refused(client, 422, "invalid_request", BREAD, level="file", path=path)
    assert [error["field"] for error in problem["errors"]] == ["path"]
    there = await client.get(problem["detail"].rsplit(" ", 1)[1])
    assert there.content.startswith(b"\x89PNG")


async def test_a_missing_and_an_unknown_path_are_answered_with_the_files_there_are(
    client: httpx.AsyncClient,
) -> None:
    missing = await refused(client, 422, "invalid_request", BREAD, level="file")
    unknown = await refused(client, 404, "not_found", BREAD, level="file", path="cake.md")
    for problem in (missing, unknown):
        assert "'SKILL.md', 'notes.md', 'oven.png'" in problem["detail"]


async def test_an_unknown_level_is_refused(client: httpx.AsyncClient) -> None:
    problem = await refused(client, 422, "invalid_request", BREAD, level="everything")
    assert [error["field"] for error in problem["errors"]] == ["level"]


async def test_content_is_never_taken_for_another_type(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/v1/skills/{BREAD}/content", params={"level": "body"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_version_has_the_same_levels(client: httpx.AsyncClient) -> None:
    live = await content(client, PDF, level="section", section="Size")
    place = f"/v1/skills/{PDF}/versions/{live['digest']}/content"
    version = await client.get(place, params={"level": "section", "section": "Size"})
    assert version.json() == live


async def test_an_unknown_version_is_not_found(client: httpx.AsyncClient) -> None:
    place = f"/v1/skills/{PDF}/versions/sha256:0/content"
    assert (await client.get(place, params={"level": "body"})).status_code == 404


@pytest.mark.parametrize("include", LEVELS)
async def test_a_route_sends_what_the_skill_sends_at_that_level(
    client: httpx.AsyncClient, parts: Parts, include: str
) -> None:
    answer = await route(client, PDF_TASK, include=include)
    assert answer["skills"] and "content" in answer["timings_ms"]
    for skill in answer["skills"]:
        asked = {"level": include, "section": skill["section"]}
        sent = await content(client, skill["id"], **asked)
        assert skill["content"] == sent["content"]
        assert skill["content_tokens"] == sent["tokens"]
        assert skill["content_sha256"] == sent["sha256"] == hexdigest(skill["content"])
        assert parts.embedder.count_tokens([skill["content"]]) == [skill["content_tokens"]]


async def test_a_route_sends_the_section_that_fits_the_task(client: httpx.AsyncClient) -> None:
    best = (await route(client, BOOKMARKS_TASK, include="section"))["skills"][0]
    assert (best["id"], best["section"]) == (PDF, "Split at bookmarks")
    assert best["content"].startswith("## Split at bookmarks\n")
    assert best["snippet"].startswith("Split at bookmarks 1. Read the outline")
    assert 0 < best["content_tokens"] < best["tokens"]["body"] / 3


async def test_a_route_sends_name_and_description_where_no_section_has_the_tasks_words(
    client: httpx.AsyncClient,
) -> None:
    answer = await route(client, "/bread", include="section", filters={"catalogues": [OTHERS]})
    (bread,) = answer["skills"]
    assert (bread["section"], bread["content"]) == ("", "bread\nBakes bread.")


async def test_without_content_nothing_is_counted(client: httpx.AsyncClient) -> None:
    answer = await route(client, PDF_TASK)
    for skill in (*answer["skills"], *answer["not_loaded"]):
        assert (skill["content"], skill["content_tokens"], skill["content_sha256"]) == (None,) * 3
    assert answer["skills"] and "content" not in answer["timings_ms"]


@pytest.mark.parametrize("include", LEVELS)
async def test_neither_none_nor_a_near_miss_carries_content(
    client: httpx.AsyncClient, include: str
) -> None:
    best = (await route(client, PDF_TASK))["skills"][0]["id"]
    answers = [
        await route(client, "tell me a joke about penguins", include=include),
        await route(client, PDF_TASK, include=include, context={"loaded": [best]}),
        await route(client, PDF_TASK, include=include, token_budget=1),
    ]
    near_misses = [skill for answer in answers for skill in answer["not_loaded"]]
    reasons = {"decision_none", "already_loaded", "over_budget"}
    assert reasons <= {skill["reason"] for skill in near_misses}
    for skill in near_misses:
        assert (skill["content"], skill["content_tokens"], skill["content_sha256"]) == (None,) * 3


@pytest.mark.parametrize("include", LEVELS)
async def test_a_budget_counts_what_is_sent(client: httpx.AsyncClient, include: str) -> None:
    best = (await route(client, BOOKMARKS_TASK, include=include))["skills"][0]
    tokens = best["content_tokens"]
    enough = await route(client, BOOKMARKS_TASK, include=include, token_budget=tokens)
    assert best["id"] in {skill["id"] for skill in enough["skills"]}
    assert sum(skill["content_tokens"] for skill in enough["skills"]) <= tokens
    short = await route(client, BOOKMARKS_TASK, include=include, token_budget=tokens - 1)
    assert best["id"] not in {skill["id"] for skill in short["skills"]}


async def test_without_content_a_budget_counts_the_body(client: httpx.AsyncClient) -> None:
    best = (await route(client, BOOKMARKS_TASK))["skills"][0]
    body = best["tokens"]["body"]
    enough = await route(client, BOOKMARKS_TASK, token_budget=body)
    assert best["id"] in {skill["id"] for skill in enough["skills"]}
    short = await route(client, BOOKMARKS_TASK, token_budget=body - 1)
    assert best["id"] not in {skill["id"] for skill in short["skills"]}
