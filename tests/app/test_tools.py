"""MCP servers that a skill asks for, and an agent's list of tools."""

from __future__ import annotations

from typing import Any

import pytest

from app.routing.tools import lacks, servers


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
