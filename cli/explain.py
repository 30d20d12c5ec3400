"""`loadstar explain`: why a skill is or is not offered for a task, stage by stage."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.main import open_parts
from app.routing.explained import DecisionStage, Explained, ExplainRequest
from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, asked, given, print_json, stdout
from cli.show import identity
from core.settings import load_settings

EXAMPLE = 'Example: loadstar explain "merge three PDFs" acme/skills/documents/pdf-merge-split'


def explain(
    task: Annotated[str, typer.Argument(help="What the agent has to do.")],
    skill: Annotated[str, typer.Argument(help="Skill id (skl_…), or owner/catalogue/path.")],
    k: Annotated[int, typer.Option("-k", help="How many skills the route answers with.")] = 5,
    catalogue: Annotated[
        list[str] | None, typer.Option(help="Search only this catalogue; may be repeated.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Say why a skill is or is not offered for a task."""
    settings = load_settings(
        AppSettings, **given(data_dir=data_dir, database_url=database_url, encoder=encoder)
    )
    filters = {"catalogues": catalogue or []}
    request = asked(ExplainRequest, task=task, skill=identity(skill), k=k, filters=filters)
    found = asyncio.run(_explain(settings, request))
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_explained(found)


async def _explain(settings: AppSettings, request: ExplainRequest) -> Explained:
    async with open_parts(settings) as parts:
        return await parts.router.explain(request, parts.follower.snapshot)


def _print_explained(found: Explained) -> None:
    stdout.print(f"{found.catalogue}/{found.path}: {found.not_offered or 'offered'}")
    stdout.print(f"the route: {found.decision} ({found.reason}), confidence {found.confidence:.2f}")
    for stage in found.stages:
        stdout.print(f"  {stage.stage:>8}  {stage.says}")
        if isinstance(stage, DecisionStage):
            for share in stage.features:
                stdout.print(f"  {'':>8}  {share.contribution:+.2f}  {share.feature}")
            stdout.print(f"  {'':>8}  {stage.bias:+.2f}  bias")
