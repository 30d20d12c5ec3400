"""`loadstar serve`: the HTTP server."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
import uvicorn

from app.main import create_app, open_parts
from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stderr
from core.settings import load_settings
from core.types import Filters

EXAMPLE = "Example: loadstar serve --port 8080"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (LOADSTAR_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (LOADSTAR_PORT).")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Answer POST /v1/route and the rest of the API until stopped."""
    settings = load_settings(
        AppSettings,
        **given(
            host=host, port=port, data_dir=data_dir, database_url=database_url, encoder=encoder
        ),
    )
    # uvloop where it is installed, as uvicorn itself would choose.
    loop_factory = uvicorn.Config("").get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        sys.exit(runner.run(_serve(settings, as_json)))


async def _serve(settings: AppSettings, as_json: bool) -> int:
    async with open_parts(settings) as parts:
        view = parts.follower.snapshot.view
        ready = {
            "url": f"http://{settings.host}:{settings.port}",
            "skills": view.count(Filters()),
            "generation": view.generation.id,
        }
        if as_json:
            print_json(ready)
        else:
            stderr.print(f"{ready['skills']} skills, serving on {ready['url']} (docs at /docs)")
        config = uvicorn.Config(
            create_app(parts),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        await server.serve()
        return 0 if server.started else 1
