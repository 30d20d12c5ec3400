"""Plots: one for each part that there are figures for, whatever is missing or odd in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evaluation import plots
from evaluation.result import Evaluation
from tests.evaluation.findings import EMPTY, decided, decisions_of, promise_of, retrieval_of

PNG = b"\x89PNG\r\n\x1a\n"


def everything() -> Evaluation:
    return replace(
        retrieval_of({"rank-bm25": list, "fused": list}),
        decisions=decisions_of(decided(200)).decisions,
        promises=promise_of(5, 100, 0.1).promises,
    )


def width(image: bytes) -> int:
    return int.from_bytes(image[16:20])


def test_every_part_has_its_plot_of_a_thousand_pixels(tmp_path: Path) -> None:
    drawn = plots.write(everything(), tmp_path)
    assert {path.name for path in drawn.values()} == {
        "retrieval.png",
        "calibration.png",
        "risk_coverage.png",
        "promises.png",
    }
    images = [path.read_bytes() for path in drawn.values()]
    assert all(image.startswith(PNG) and width(image) == 1000 for image in images)


def test_what_has_no_figures_is_not_drawn(tmp_path: Path) -> None:
    assert plots.write(EMPTY, tmp_path) == {}
    assert plots.write(promise_of(0, 0, 0.1), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_too_few_rows_make_no_curve() -> None:
    assert plots.calibration(decisions_of(decided(plots.FEWEST_ROWS - 1))) is None
    assert plots.risk_coverage(decisions_of(decided(plots.FEWEST_ROWS))) is not None


def test_the_titles_say_what_is_plotted_and_on_which_rows() -> None:
    found = everything()
    drawn = [plots.retrieval(found), plots.calibration(found), plots.promises(found)]
    for figure, what in zip(drawn, ("Retrieval", "Calibration", "The promise"), strict=True):
        assert figure is not None
        title = figure.get_suptitle()
        assert title.startswith(what) and "the file's own rows" in title


def test_a_set_over_the_pool_shares_the_panel_of_its_catalogue() -> None:
    found = retrieval_of({"rank-bm25": list, "fused": list})
    over_pool = tuple(replace(row, scope="pool") for row in found.retrieval)
    both = plots.retrieval(replace(found, retrieval=found.retrieval + over_pool))
    alone = plots.retrieval(replace(found, retrieval=over_pool))
    assert both is not None and alone is not None
    assert len(both.axes) == len(alone.axes) == 1


def test_many_sets_are_drawn_up_to_the_most_that_can_be_read() -> None:
    found = retrieval_of({"rank-bm25": list})
    rows = tuple(replace(found.retrieval[0], source=f"set {n}") for n in range(20))
    figure = plots.retrieval(replace(found, retrieval=rows))
    assert figure is not None and len(figure.axes) == plots.MOST_PANELS
