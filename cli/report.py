"""`loadstar report`: what is worth mending in an indexed catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from cli.progress import Bars
from core.db import open_database
from core.embedding import load_embedder
from core.settings import load_settings
from evaluation.confusable import MARGIN, Confusable, Group, confusable, read_catalogue
from reranker.policy import load_policy

CONFUSABLE_EXAMPLE = "Example: loadstar report confusable --catalogue acme/skills"

SHOWN_WORDS = 12  # of a member's own words: enough to see what it is about
SHOWN_PAIRS = 6  # of a group, the worst; a group of five twins has ten

program = typer.Typer(
    help="Reports on an indexed catalogue.", no_args_is_help=True, rich_markup_mode=None
)


@program.command("confusable", epilog=CONFUSABLE_EXAMPLE)
def report_confusable(
    catalogue: Annotated[str | None, typer.Option(help="owner/name of the catalogue.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Groups, and skills without description, to show.")
    ] = 20,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """List the skills of a catalogue that cannot be told apart, and what would part them."""
    settings = load_settings(
        AppSettings, **given(data_dir=data_dir, database_url=database_url, encoder=encoder)
    )
    found = asyncio.run(_confusable(settings, catalogue or ""))
    if as_json:
        print_json(_as_json(found, found.groups[:limit]))
    else:
        _print(found, limit)


async def _confusable(settings: AppSettings, catalogue: str) -> Confusable:
    embedder = load_embedder(settings.encoder, threads=settings.threads, streams=settings.threads)
    policy = load_policy(settings.policy_file)
    engine = await open_database(settings.catalogue_url, create=False)
    try:
        entries = await read_catalogue(engine, catalogue, embedder)
    finally:
        await engine.dispose()
    with Bars() as bars:
        return confusable(
            catalogue,
            entries,
            embedder,
            policy.arm_weights,
            on_progress=lambda done, total: bars.show("descriptions", done, total),
        )


def _as_json(found: Confusable, groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "catalogue": found.catalogue,
        "skills": found.skills,
        "margin": MARGIN,
        "groups_found": len(found.groups),
        "pairs_left_out": found.pairs_left_out,
        "undescribed": found.undescribed,
        "groups": [
            {
                "advice": group.advice,
                "members": [asdict(member) for member in group.members],
                "pairs": [asdict(pair) | {"reasons": pair.reasons} for pair in group.pairs],
            }
            for group in groups
        ],
    }


def _print(found: Confusable, limit: int) -> None:
    held = sum(len(group.members) for group in found.groups)
    stdout.print(
        f"{found.catalogue}: {held} of {found.skills} skills cannot be told from another (margin "
        f"below {MARGIN}, same name, or twin bodies); groups of them: {len(found.groups)}"
    )
    for number, group in enumerate(found.groups[:limit], start=1):
        stdout.print(f"\n{number}. {len(group.members)} skills")
        for member in group.members:
            words = ", ".join(member.own_words[:SHOWN_WORDS]) or "nothing"
            stdout.print(f"   {member.place}\n      only here: {words}")
        for pair in group.pairs[:SHOWN_PAIRS]:
            stdout.print(
                f"   margin {pair.margin:+.2f} ({', '.join(pair.reasons)}): "
                f"{_within(pair.one, found)} and {_within(pair.other, found)}; cosine "
                f"{pair.cosine:.2f}, shared words {pair.shared_words:.0%}, shared body "
                f"{pair.shared_body:.0%}"
            )
        if len(group.pairs) > SHOWN_PAIRS:
            stdout.print(f"   {len(group.pairs) - SHOWN_PAIRS} more pairs: --json")
        for advice in group.advice:
            stdout.print(f"   → {advice}")
    if len(found.groups) > limit:
        stdout.print(f"\n{len(found.groups) - limit} more groups: --limit {len(found.groups)}")
    if found.pairs_left_out:
        stdout.print(f"\n{found.pairs_left_out} pairs between full groups are not shown")
    if found.undescribed:
        stdout.print(
            f"\n{len(found.undescribed)} with next to no description beyond the name; write one:"
        )
        for place in found.undescribed[:limit]:
            stdout.print(f"   {place}")


def _within(place: str, found: Confusable) -> str:
    """A place without its catalogue."""
    return place.removeprefix(found.catalogue + "/")
