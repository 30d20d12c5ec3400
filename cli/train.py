"""`loadstar train encoder`: our encoder from MiniLM and the development data, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import DataDir, Json, given, print_json, stderr, stdout
from cli.progress import Bars
from core.errors import ModelMissingError
from core.settings import Settings, load_settings

program = typer.Typer(help="Train the models that Loadstar ships.", rich_markup_mode=None)

EXAMPLE = "Example: loadstar train encoder --data ../data --output models/loadstar-encoder"


@program.command("encoder", epilog=EXAMPLE)
def encoder(
    data: Annotated[Path, typer.Option(help="Folder of labelled rows and skills.jsonl.xz.")],
    output: Annotated[Path, typer.Option(help="Folder to write the exported encoder to.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of checkpoint and curve; one that is there is gone on with.",
            show_default="training/encoder in the data folder",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps in all.")] = 800,
    skills: Annotated[int, typer.Option(min=2, help="Skills of a batch.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Its peak.")] = 1.5e-4,
    hard_negatives: Annotated[bool, typer.Option(help="Batches of neighbours, or random.")] = True,
    mask: Annotated[
        bool, typer.Option(help="Hide a skill's name from what its own text asks.")
    ] = True,
    without: Annotated[
        list[str] | None, typer.Option(help="Source of queries to leave out; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of batches, passages and queries.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Steps between held-out figures.")] = 200,
    device: Annotated[str, typer.Option(help="cpu, or cuda for one GPU.")] = "cpu",
    name: Annotated[str, typer.Option(help="Model name in the space.")] = "loadstar-encoder",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Train the encoder on permissively licensed skills of the train side, and export it.

    Killed, it goes on from its last checkpoint. The curve holds figures over calibration rows.
    """
    try:
        from evaluation.prepare import read_verified
        from evaluation.split import committed
        from evaluation.training import read_corpus, train_encoder
        from reranker.learn.examples import sources_without
        from reranker.learn.train_encoder import Recipe
    except ImportError as error:
        raise ModelMissingError(
            "loadstar train needs the extras `train` and `eval`: "
            "pip install 'loadstar[train,eval]'."
        ) from error
    recipe = Recipe(
        steps=steps,
        skills=skills,
        learning_rate=learning_rate,
        hard_negatives=hard_negatives,
        mask=Recipe().mask if mask else 0.0,
        sources=sources_without(without or []),
        seed=seed,
    )
    folder = (
        run or load_settings(Settings, **given(data_dir=data_dir)).data_dir / "training/encoder"
    )
    stderr.print(f"reading {data}")
    corpus = read_corpus(read_verified(data, "quick", committed()))
    stderr.print(f"{len(corpus.train):,} skills to train on; mining their neighbours")
    with Bars() as bars:
        curve = train_encoder(
            corpus,
            recipe,
            folder,
            output,
            device=device,
            name=name,
            every=every,
            on_step=lambda done, total, detail: bars.show("steps", done, total, detail),
        )
    if as_json:
        print_json({"curve": curve, "run": str(folder), "written": str(output)})
        return
    for line in curve:
        figures = "  ".join(f"{key} {value:.3f}" for key, value in line.items() if key != "step")
        stdout.print(f"step {line['step']:>5}: {figures}")
    stdout.print(f"written to {output}; use it: LOADSTAR_ENCODER={output} loadstar index SOURCE")
