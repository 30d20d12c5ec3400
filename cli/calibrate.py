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
    from evaluation.calibrating import Calibrated

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
    found = asyncio.run(calibrated(settings, catalogue, queries, on_step=on_step))
    output.write_text(found.policy.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json(
            {
                "policy": found.policy.model_dump(mode="json"),
                "catalogue": found.catalogue,
                "written": str(output),
            }
        )
        return
    _print(found, output)


def _print(found: Calibrated, output: Path) -> None:
    from app.routing.decide import load_threshold
    from reranker.policy import EVERYTHING

    policy = found.policy
    where = "everything indexed" if found.catalogue == EVERYTHING else found.catalogue
    stdout.print(f"{policy.id}: promises for tasks routed over {where}")
    for scored_by, own in found.own.items():
        scale = policy.scale(scored_by)
        judged = scale.model_copy(
            update={"calibration": own.calibration, "false_load": own.false_load}
        )
        kept = ", ".join(
            f"{line.max_false_load:g} from {load_threshold(judged, line.max_false_load):.3f}"
            for line in own.false_load
        )
        stdout.print(f"scored by {scored_by}: {own.calibration}")
        least = f"  loads from {scale.load:.3f}"
        if kept:
            stdout.print(f"{least}; with max_false_load={kept}")
        else:
            stdout.print(f"{least}; there are too few rows for any max_false_load")
    stdout.print(
        f"written to {output}; serve with it: LOADSTAR_POLICY_FILE={output} loadstar serve"
    )
