"""`loadstar route`: one task, answered in this process as the server would."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.main import open_parts
from app.routing.contract import NotLoaded, RouteAnswer, RoutedSkill, RouteRequest
from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, asked, given, print_json, stdout
from core.settings import load_settings

EXAMPLE = 'Example: loadstar route "merge these three PDFs and drop the blank pages"'


def route(
    task: Annotated[str, typer.Argument(help="What the agent has to do.")],
    k: Annotated[int, typer.Option("-k", help="How many skills to show at most.")] = 5,
    catalogue: Annotated[
        list[str] | None, typer.Option(help="Search only this catalogue; may be repeated.")
    ] = None,
    explain: Annotated[bool, typer.Option(help="Show the features behind the decision.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Say which skill a task is worth loading, if any."""
    settings = load_settings(
        AppSettings, **given(data_dir=data_dir, database_url=database_url, encoder=encoder)
    )
    filters = {"catalogues": catalogue or []}
    request = asked(RouteRequest, task=task, k=k, filters=filters, explain=explain)
    answer = asyncio.run(_route(settings, request))
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        _print_answer(answer)


async def _route(settings: AppSettings, request: RouteRequest) -> RouteAnswer:
    async with open_parts(settings) as parts:
        return await parts.router.route(request)


def _print_answer(answer: RouteAnswer) -> None:
    stdout.print(
        f"{answer.decision} ({answer.reason}), confidence {answer.confidence:.2f} "
        f"[{answer.calibration}], {answer.timings_ms['total']:.0f} ms"
    )
    for skill in answer.skills:
        _print_skill("offered", skill)
    for skill in answer.not_loaded:
        _print_skill(skill.reason, skill)
    for name, value in (answer.explain or {}).items():
        stdout.print(f"{name}: {value}")


def _print_skill(label: str, skill: RoutedSkill | NotLoaded) -> None:
    stdout.print(f"  {label:>18}  p {skill.p_useful:.2f}  {skill.catalogue}/{skill.path}")
    stdout.print(f"  {'':>18}  {skill.id}  {skill.tokens.body} tokens  {skill.description[:80]}")
