"""`loadstar show`: one skill with everything the catalogue holds of it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.output import DatabaseUrl, DataDir, Json, given, print_json, stdout
from core import store
from core.db import open_database, read
from core.errors import NotFoundError
from core.settings import Settings, load_settings
from core.types import SkillVersion, skill_id

EXAMPLE = "Example: loadstar show acme/skills/documents/pdf-merge-split"


def show(
    skill: Annotated[str, typer.Argument(help="Skill id (skl_…), or owner/catalogue/path.")],
    body: Annotated[bool, typer.Option(help="Show the body too.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show a skill: its fields, problems, passages and token counts."""
    settings = load_settings(Settings, **given(data_dir=data_dir, database_url=database_url))
    shown = _shown(asyncio.run(_find(settings, skill)), with_body=body)
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        if isinstance(value, list) and value:
            stdout.print(f"{name}:")
            for item in value:
                stdout.print(f"  - {item}")
        else:
            stdout.print(f"{name}: {value}")


async def _find(settings: Settings, skill: str) -> SkillVersion:
    engine = await open_database(settings.catalogue_url, create=False)
    try:
        async with read(engine) as connection:
            version = await store.live_skill(connection, identity(skill))
    finally:
        await engine.dispose()
    if version is None:
        raise NotFoundError(f"There is no live skill {skill!r}.")
    return version


def identity(skill: str) -> str:
    """The id of a skill that is named by its id or its place."""
    if skill.startswith("skl_"):
        return skill
    owner, _, rest = skill.partition("/")
    name, _, path = rest.partition("/")
    return skill_id(f"{owner}/{name}", path)


def _shown(version: SkillVersion, *, with_body: bool) -> dict[str, Any]:
    shown = {
        "id": version.skill_id,
        "catalogue": version.catalogue,
        "path": version.path,
        "name": version.name,
        "description": version.description,
        "digest": version.digest,
        "licence": version.licence,
        "language": version.language,
        "trust": version.trust.name.lower(),
        "routable": version.routable,
        "tokens": asdict(version.tokens),
        "tags": list(version.tags),
        "triggers": list(version.triggers),
        "problems": [
            f"line {p.line or '-'}: {p.code} ({p.severity}): {p.detail}" for p in version.problems
        ],
        "passages": [f"[{p.kind}] {p.text}" for p in version.passages],
    }
    return shown | ({"body": version.body} if with_body else {})
