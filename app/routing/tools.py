"""Tools that a skill needs and an agent may lack: its MCP servers; pure.

Other tools that skills name (`Read`, `Bash`) are called differently by every agent, so that their
absence from a list says nothing; a server goes by one name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_SERVER = re.compile(r"mcp__(.+?)(?:__|\W|$)")


def servers(frontmatter: Mapping[str, Any]) -> frozenset[str]:
    """Names of the MCP servers that a SKILL.md asks for, in lower case.

    From `allowed-tools` (`mcp__server__tool`) and `requires: {mcp: [server]}`, as skills have them.
    """
    required = frontmatter.get("requires")
    named = required.get("mcp") if isinstance(required, Mapping) else None
    tools = " ".join(_texts(frontmatter.get("allowed-tools")))
    return frozenset(
        name.strip().casefold()
        for name in (*_SERVER.findall(tools), *_texts(named))
        if name.strip()
    )


def lacks(needed: Collection[str], tools: Collection[str]) -> bool:
    """Whether a server is missing from an agent's tools, each named `mcp__server…` or `server`.

    An agent that names no tools is taken to have them all.
    """
    if not tools:
        return False
    at_hand = {tool.casefold() for tool in tools}
    at_hand |= {name for tool in at_hand for name in _SERVER.findall(tool)}
    return not at_hand.issuperset(needed)


def _texts(value: object) -> Iterator[str]:
    """The texts of a field that may be one, or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
