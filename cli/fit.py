"""`loadstar fit`: a policy fitted on labelled rows, or the one in force refitted on own rows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.settings import AppSettings
from cli.labelled import Pool, exactly_one, indexed, needing_extra, on_step
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from core.errors import SettingsError
from core.settings import load_settings

if TYPE_CHECKING:
    from evaluation.decision_metrics import DecisionReport
    from evaluation.own_fit import OwnFit
    from reranker.policy import Policy

EXAMPLE = "Example: loadstar fit --queries own.jsonl --output my-policy.json"


def fit(
    output: Annotated[Path, typer.Option(help="File to write the policy to.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled rows and skills.jsonl.xz; indexed first."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Own rows, JSON lines {query, expected}, over what is indexed already."),
    ] = None,
    pool: Annotated[Pool, typer.Option(help="Skills of --data: 20,000 or all.")] = "quick",
    policy_file: Annotated[
        Path | None, typer.Option(help="Policy to start from (LOADSTAR_POLICY_FILE).")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Fit how sure the router must be, so that confidence and max_false_load mean something.

    Own rows need a skill, or null where nothing should load; some 50 will do. They are routed
    over everything indexed, once as it is and once with the right skill hidden.
    """
    options = given(
        policy_file=policy_file, data_dir=data_dir, database_url=database_url, encoder=encoder
    )
    exactly_one(data, queries)
    if not output.parent.is_dir():
        raise SettingsError(f"--output: there is no folder {output.parent}")
    if queries is not None:
        fitted = _fit_own(queries, options)
        policy, shown = fitted.policy, _own_as_json(fitted)
    else:
        assert data is not None
        policy = _fit_data(data, pool, options)
        shown = {"policy": policy.model_dump(mode="json")}
    output.write_text(policy.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json(shown | {"written": str(output)})
        return
    if queries is not None:
        _print_own(fitted)
    _print_policy(policy, output)


def _fit_own(file: Path, options: dict[str, Any]) -> OwnFit:
    with needing_extra("fit"):
        from evaluation.own_fit import fit_own_file
    settings = load_settings(AppSettings, **options)
    return asyncio.run(fit_own_file(file, settings, on_step=on_step))


def _fit_data(folder: Path, pool: Pool, options: dict[str, Any]) -> Policy:
    with needing_extra("fit"):
        from evaluation.fitting import fit_data
    prepared, settings = indexed(folder, pool, options)
    return asyncio.run(fit_data(prepared, settings, on_step=on_step))


def _own_as_json(fitted: OwnFit) -> dict[str, Any]:
    return {
        "policy": fitted.policy.model_dump(mode="json"),
        "base": fitted.base.id,
        "before": _figures(fitted.before),
        "after": _figures(fitted.after),
        "warnings": list(fitted.warnings),
    }


def _figures(found: DecisionReport) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "useful": found.useful,
        "balanced_accuracy": asdict(found.balanced_accuracy),
        "auroc": found.auroc,
        "ece": found.calibration.ece,
        "calibration": found.calibration.verdict,
        "false_loads": asdict(found.false_loads),
    }


def _print_own(fitted: OwnFit) -> None:
    rows = fitted.before.rows
    stdout.print(
        f"{rows} answers, {fitted.before.useful} of them with a skill that helps. Before: "
        f"{fitted.base.id}; after: fitted on four fifths of the rows, measured on the fifth"
    )
    for name, found in (("before", fitted.before), ("after", fitted.after)):
        accuracy, loads = found.balanced_accuracy, found.false_loads
        stdout.print(
            f"{name:>7}: balanced accuracy {accuracy.mean:.3f} "
            f"[{accuracy.low:.3f}, {accuracy.high:.3f}]  AUROC {found.auroc:.3f}  "
            f"ECE {found.calibration.ece:.3f} ({found.calibration.verdict})  "
            f"false loads {loads.loads} of {loads.negatives}, at most {loads.bound:.3f}"
        )
    for warning in fitted.warnings:
        stdout.print(f"warning: {warning}")


def _print_policy(policy: Policy, output: Path) -> None:
    for scored_by, scale in policy.scales.items():
        promised = ", ".join(f"{line.max_false_load:g}" for line in scale.false_load)
        stdout.print(f"{policy.id}, scored by {scored_by}: {scale.calibration}")
        stdout.print(f"loads from {scale.load:g}, considers from {scale.consider:g}")
        stdout.print(f"max_false_load can be {promised or 'nothing: too few rows'}")
        stdout.print(f"it rests on {scale.negatives}")
    stdout.print(
        f"written to {output}; serve with it: LOADSTAR_POLICY_FILE={output} loadstar serve"
    )
