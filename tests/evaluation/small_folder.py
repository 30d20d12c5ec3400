"""A small development folder: two catalogues with a set each, strays, and the other files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path

from evaluation import datasets
from tests.evaluation.rows import a_skill, write_lines

FIRST, SECOND, STRAY = "acme/first", "acme/second", "stray/skills"
VERBS = ("merge", "rotate", "encrypt", "translate")
THINGS = ("invoices", "photographs", "contracts")
SETS = {FIRST: "uipath", SECOND: "nvidia"}
TOOL = f"{datasets.METATOOL}/Weather"


def write_folder(folder: Path) -> Path:
    """Every file that `loadstar eval --data` reads, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "skills.jsonl.xz", _skills())
    write_lines(folder / "routing_queries.jsonl", _routing())
    write_lines(
        folder / "skill_prompts.jsonl",
        [
            {
                "skill_id": f"{STRAY}/merge-invoices",
                "prompt": "please put my invoices together",
                "labelled": False,
                "names_skill": False,
            }
        ],
    )
    write_lines(
        folder / "trigger_evals.jsonl",
        [
            {
                "skill_id": f"{STRAY}/other",
                "query": "what is it?",
                "should_load": False,
                "names_skill": False,
            }
        ],
    )
    write_lines(
        folder / "metatool_awareness.jsonl",
        [{"qid": "a1", "text": "will it rain?", "relevant": ["Weather"], "set": "awareness"}],
    )
    write_lines(
        folder / "metatool_reliability.jsonl",
        [
            {
                "qid": "m1",
                "text": "will it snow?",
                "relevant": [],
                "withheld_tool": "Weather",
                "candidates": ["Maps"],
            }
        ],
    )
    tools = [("Weather", "forecasts for any place"), ("Maps", "the way from one place to another")]
    write_lines(
        folder / "metatool_tools.jsonl",
        [
            {"id": name, "name": name, "description": text, "body": text, "merged": False}
            for name, text in tools
        ],
    )
    return folder


def _skills() -> Iterable[object]:
    for catalogue, verb, thing in product(SETS, VERBS, THINGS):
        yield a_skill(
            f"{catalogue}/{verb}-{thing}",
            description=f"Use it to {verb} {thing}.",
            body=f"# How to {verb}\n\nOpen the {thing}, then {verb} them for {catalogue}.",
        )
    for name in ("merge-invoices", "other"):
        yield a_skill(f"{STRAY}/{name}", near_group="stray")


def _routing() -> Iterable[object]:
    for catalogue, source in SETS.items():
        for verb, thing in product(VERBS, THINGS):
            yield {
                "qid": f"{source}-{verb}-{thing}",
                "text": f"could you {verb} these {thing} for {source}?",
                "relevant": [f"{catalogue}/{verb}-{thing}"],
                "catalogue": catalogue,
                "set": source,
                "names_skill": thing == "contracts" and verb == "merge",
                "needs_skill": True,
            }
        yield {
            "qid": f"{source}-none",
            "text": f"what is the capital of {source}?",
            "relevant": [],
            "catalogue": catalogue,
            "set": source,
            "names_skill": False,
            "needs_skill": False,
        }
