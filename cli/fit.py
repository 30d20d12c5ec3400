"""`loadstar fit`: a policy fitted on labelled rows, or the one in force refitted on own rows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stderr, stdout
from cli.progress import Bars
from core.errors import ModelMissingError, SettingsError
from core.settings import load_settings
from indexer.settings import IndexerSettings

if TYPE_CHECKING:
    from evaluation.decision_metrics import DecisionReport
    from evaluation.own_fit import OwnFit
    from reranker.policy import Policy

EXAMPLE = "Example: loadstar fit --queries own.jsonl --output my-policy.json"

Pool = Literal["quick", "full"]


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
    if (data is None) == (queries is None):
        raise SettingsError(
            "Name either --data, a folder of labelled rows with their skills, or --queries, a "
            "file of your own rows over what is indexed."
        )
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
    try:
        from evaluation.own_fit import fit_own_file
    except ImportError as error:
        raise _needs_extra() from error
    settings = load_settings(AppSettings, **options)
    return asyncio.run(fit_own_file(file, settings, on_step=_on_step))


def _fit_data(folder: Path, pool: Pool, options: dict[str, Any]) -> Policy:
    try:
        from evaluation.fitting import fit_data
        from evaluation.main import index_data
    except ImportError as error:
        raise _needs_extra() from error
    if "database_url" in options:
        raise SettingsError("--data is indexed in the data folder: drop --database-url.")
    parent = load_settings(AppSettings, **options).data_dir
    # Nor the database of the environment: that is an operator's own.
    options |= {"data_dir": parent / f"eval-{pool}", "database_url": None}
    settings = load_settings(AppSettings, **options)
    indexing = load_settings(
        IndexerSettings, **{name: value for name, value in options.items() if name != "policy_file"}
    )
    with Bars() as bars:
        prepared = asyncio.run(
            index_data(folder, pool, indexing, on_step=_on_step, on_progress=bars.show)
        )
    return asyncio.run(fit_data(prepared, settings, on_step=_on_step))


def _needs_extra() -> ModelMissingError:
    return ModelMissingError("loadstar fit needs the extra `eval`: pip install 'loadstar[eval]'.")


def _on_step(step: str) -> None:
    stderr.print(step)


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
    promised = ", ".join(f"{line.max_false_load:g}" for line in policy.false_load)
    stdout.print(f"{policy.id}: {policy.calibration}")
    stdout.print(f"loads from {policy.load:g}, considers from {policy.consider:g}")
    stdout.print(f"max_false_load can be {promised or 'nothing: too few rows'}")
    stdout.print(f"it rests on {policy.negatives}")
    stdout.print(
        f"written to {output}; serve with it: LOADSTAR_POLICY_FILE={output} loadstar serve"
    )
