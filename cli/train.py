"""`loadstar train`: what Loadstar ships as weights, from the development data; resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import DataDir, Json, given, print_json, stderr, stdout
from cli.progress import Bars
from core.embedding import DEFAULT_ENCODER
from core.errors import ModelMissingError, SettingsError
from core.settings import Settings, load_settings

if TYPE_CHECKING:
    from evaluation.training import Corpus

program = typer.Typer(help="Train the models that Loadstar ships.", rich_markup_mode=None)

EXAMPLE = "Example: loadstar train encoder --data ../data --output models/loadstar-encoder"
RERANKER_EXAMPLE = (
    "Example: loadstar train reranker --data ../data --output models/loadstar-reranker"
)

NEED_EXAMPLE = "Example: loadstar train need --data ../data --output reranker/need.json"

Data = Annotated[Path, typer.Option(help="Folder of labelled rows and skills.jsonl.xz.")]
Output = Annotated[Path, typer.Option(help="Folder to write the exported model to.")]
Device = Annotated[str, typer.Option(help="cpu, or cuda for one GPU.")]
Every = Annotated[int, typer.Option(min=1, help="Steps between held-out figures.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn.")]
Run = Annotated[
    Path | None,
    typer.Option(
        help="Folder of checkpoint and curve; one that is there is gone on with.",
        show_default="training/ in the data folder",
    ),
]


@program.command("encoder", epilog=EXAMPLE)
def encoder(
    data: Data,
    output: Output,
    run: Run = None,
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
    seed: Seed = 1,
    every: Every = 200,
    device: Device = "cpu",
    name: Annotated[str, typer.Option(help="Model name in the space.")] = "loadstar-encoder",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Train the encoder on permissively licensed skills of the train side, and export it.

    Killed, it goes on from its last checkpoint. The curve holds figures over calibration rows.
    """
    with _needing_extras():
        from evaluation.training import train_encoder
        from reranker.learn.examples import sources_without
        from reranker.learn.train_encoder import Recipe
    recipe = Recipe(
        steps=steps,
        skills=skills,
        learning_rate=learning_rate,
        hard_negatives=hard_negatives,
        mask=Recipe().mask if mask else 0.0,
        sources=sources_without(without or []),
        seed=seed,
    )
    folder = _folder(run, data_dir, "encoder")
    corpus = _corpus(data)
    with Bars() as bars:
        curve = train_encoder(
            corpus,
            recipe,
            folder,
            output,
            device=device,
            name=name,
            every=every,
            on_step=partial(bars.show, "steps"),
        )
    use = f"LOADSTAR_ENCODER={output} loadstar index SOURCE"
    _report(curve, folder, output, use, as_json)


@program.command("reranker", epilog=RERANKER_EXAMPLE)
def reranker(
    data: Data,
    output: Output,
    encoder: Annotated[
        str, typer.Option(help="Folder or name of the exported encoder whose words are read.")
    ] = DEFAULT_ENCODER,
    run: Run = None,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each list is seen.")] = 12,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of each head.")] = 32,
    seed: Seed = 1,
    name: Annotated[
        str | None, typer.Option(help="What `scored_by` says.", show_default="that of OUTPUT")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Train the reranker's head over the encoder's words on judged lists, and export it.

    Killed, it goes on with the lists it had not read. The figures are over calibration rows.
    """
    with _needing_extras():
        from evaluation.training_reranker import train_reranker
        from reranker.learn.train_reranker import Recipe
    folder = _folder(run, data_dir, "reranker")
    corpus = _corpus(data)
    with Bars() as bars:
        curve = train_reranker(
            corpus,
            Recipe(epochs=epochs, hidden=hidden, seed=seed),
            folder,
            output,
            encoder=encoder,
            name=name or output.name,
            on_list=partial(bars.show, "lists"),
        )
    _report(curve, folder, output, f"LOADSTAR_RERANKER={output} loadstar serve", as_json)


@program.command("need", epilog=NEED_EXAMPLE)
def need(
    data: Data,
    output: Annotated[Path, typer.Option(help="File to write it to.")],
    encoder: Annotated[
        str, typer.Option(help="Folder or name of the encoder whose vectors it weighs.")
    ] = DEFAULT_ENCODER,
    as_json: Json = False,
) -> None:
    """Fit what tells tasks that need a skill from messages that need none, for one encoder.

    The figure is over calibration rows. It is used where it lies at `reranker/need.json`.
    """
    with _needing_extras():
        from evaluation.prepare import read_verified
        from evaluation.split import committed
        from evaluation.training_need import train_need
    if not output.parent.is_dir():
        raise SettingsError(f"--output: there is no folder {output.parent}")
    stderr.print(f"reading {data}")
    figures = train_need(read_verified(data, "quick", committed()), encoder, output)
    if as_json:
        print_json(figures | {"written": str(output)})
        return
    stdout.print(
        f"{figures['needing']:,} tasks and {figures['needless']:,} messages that need no skill; "
        f"AUROC on MetaTool's calibration rows {figures['metatool-awareness']:.3f}"
    )
    stdout.print(f"written to {output}")


@contextmanager
def _needing_extras() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ModelMissingError(
            "loadstar train needs the extras `train` and `eval`: "
            "pip install 'loadstar[train,eval]'."
        ) from error


def _folder(run: Path | None, data_dir: Path | None, kind: str) -> Path:
    return run or load_settings(Settings, **given(data_dir=data_dir)).data_dir / "training" / kind


def _corpus(data: Path) -> Corpus:
    from evaluation.prepare import read_verified
    from evaluation.split import committed
    from evaluation.training import read_corpus

    stderr.print(f"reading {data}")
    corpus = read_corpus(read_verified(data, "quick", committed()))
    stderr.print(f"{len(corpus.train):,} skills to train on")
    return corpus


def _report(
    curve: Sequence[Mapping[str, float]], run: Path, output: Path, use: str, as_json: bool
) -> None:
    if as_json:
        print_json({"curve": curve, "run": str(run), "written": str(output)})
        return
    for line in curve:
        figures = "  ".join(f"{key} {value:.3f}" for key, value in line.items() if key != "step")
        stdout.print(f"step {line['step']:>5}: {figures}")
    stdout.print(f"written to {output}; use it: {use}")
