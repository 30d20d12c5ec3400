"""MCP servers that a skill asks for, and an agent's list of tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.main import open_parts
from app.routing.contract import RouteContext, RouteRequest
from app.routing.router import Timings
from app.routing.tools import lacks, servers
from app.settings import AppSettings
from tests.support import index_skill


@pytest.mark.parametrize(
    ("frontmatter", "expected"),
    [
        ({}, set()),
        ({"allowed-tools": "Read, Bash(git:*), Grep"}, set()),
        ({"allowed-tools": "Read mcp__GitHub__create_issue mcp__linear"}, {"github", "linear"}),
        ({"allowed-tools": ["mcp__web_search__query", "Write"]}, {"web_search"}),
        ({"requires": {"mcp": ["rube"]}}, {"rube"}),
        ({"requires": {"mcp": "rube"}, "allowed-tools": "mcp__db__*"}, {"rube", "db"}),
        ({"requires": ["mcp"], "allowed-tools": 7}, set()),
        ({"requires": {"mcp": [None, " "]}}, set()),
    ],
)
def test_servers_are_read_however_they_are_written(
    frontmatter: dict[str, Any], expected: set[str]
) -> None:
    assert servers(frontmatter) == expected


@pytest.mark.parametrize(
    ("needed", "tools", "missing"),
    [
        (set(), ["Read"], False),
        ({"github"}, [], False),
        ({"github"}, ["Read"], True),
        ({"github"}, ["mcp__github__list_issues"], False),
        ({"github"}, ["GitHub"], False),
        ({"github", "linear"}, ["github"], True),
    ],
)
def test_a_server_is_missing_only_from_a_list_that_lacks_it(
    needed: set[str], tools: list[str], missing: bool
) -> None:
    assert lacks(needed, tools) is missing


SKILL = """---
name: github-issue-triage
description: Sorts the open issues of a GitHub repository by urgency, labels them, drafts replies.
allowed-tools: Read, mcp__github__list_issues, mcp__github__add_labels
---
# Issue triage

List the open issues of the repository, label each by urgency, and draft a reply to every reporter.
"""


@pytest.fixture(scope="module")
def triage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one skill, which needs an MCP server."""
    return index_skill(tmp_path_factory.mktemp("triage"), SKILL)


@pytest.mark.parametrize(
    ("tools", "decision", "reason"),
    [
        ([], "load", None),
        (["mcp__github__list_issues", "Read"], "load", None),
        (["Read", "Bash"], "none", "needs_tool"),
    ],
)
async def test_a_skill_without_its_server_is_not_loaded(
    triage: Path, tools: list[str], decision: str, reason: str | None
) -> None:
    task = "sort the open issues of our GitHub repository by urgency, label them and draft replies"
    async with open_parts(AppSettings(data_dir=triage)) as parts:
        request = RouteRequest(task=task, context=RouteContext(tools=tools))
        answer = await parts.router.answer(request, parts.follower.snapshot, Timings())
    assert (answer.decision, answer.reason if reason else None) == (decision, reason)
    assert [skill.reason for skill in answer.not_loaded] == ([reason] if reason else [])
