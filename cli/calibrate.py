"""`loadstar calibrate`: promises for a catalogue that the policy was not fitted on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.settings import AppSettings
from cli.labelled import needing_extra, on_step
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from core.errors import SettingsError
from core.settings import load_settings

if TYPE_CHECKING:
    from reranker.policy import Policy

EXAMPLE = "Example: loadstar calibrate --catalogue acme/skills --output my-policy.json"


def calibrate(
    output: Annotated[Path, typer.Option(help="File to write the policy to.")],
    catalogue: Annotated[
        str | None,
        typer.Option(help="Its name, owner/name.", show_default="everything that is indexed"),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="50 own rows or more, JSON lines {query, expected}."),
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option(help="Policy to start from (LOADSTAR_POLICY_FILE).")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Make max_false_load mean something in a catalogue unlike those of the policy.

    Without --queries the catalogue is asked background queries and, each hidden, its own skills.
    """
    with needing_extra("calibrate"):
        from evaluation.calibrating import calibrate as calibrated
    if not output.parent.is_dir():
        raise SettingsError(f"--output: there is no folder {output.parent}")
    settings = load_settings(
        AppSettings,
        **given(
            policy_file=policy_file, data_dir=data_dir, database_url=database_url, encoder=encoder
        ),
    )
    policy = asyncio.run(calibrated(settings, catalogue, queries, on_step=on_step))
    output.write_text(policy.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json({"policy": policy.model_dump(mode="json"), "written": str(output)})
        return
    _print(policy, catalogue, output)


def _print(policy: Policy, catalogue: str | None, output: Path) -> None:
    from reranker.policy import EVERYTHING

    for scored_by, scale in policy.scales.items():
        if own := scale.catalogues.get(catalogue or EVERYTHING):
            stdout.print(f"{policy.id}, scored by {scored_by}: {own.calibration}")
            kept = ", ".join(f"{p.max_false_load:g} from {p.threshold:.3f}" for p in own.false_load)
            stdout.print(f"max_false_load can be {kept or 'nothing: too few rows'}")
    stdout.print(
        f"written to {output}; serve with it: LOADSTAR_POLICY_FILE={output} loadstar serve"
    )
