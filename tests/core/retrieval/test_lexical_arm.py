from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.arms import LexicalArm, RankBM25Arm, TantivyArm
from core.retrieval.lexical import MAX_TERMS, WordIndex, analyse, lexical_text, weigh
from core.retrieval.view import View
from core.types import Filters, IndexRow, Trust

EVERYTHING = Filters(trust_floor=Trust.QUARANTINED)

MakeRow = Callable[..., IndexRow]
MakeRows = Callable[..., list[IndexRow]]
MakeView = Callable[..., View]


def found(view: View, task: str, k: int = 10, filters: Filters = EVERYTHING) -> list[int]:
    return [hit.row for hit in TantivyArm().search(view, task, filters, k).hits]


@pytest.fixture(scope="module")
def rows(make_rows: MakeRows) -> list[IndexRow]:
    return make_rows(300, seed=5)


@pytest.fixture(scope="module")
def view(rows: list[IndexRow], make_view: MakeView) -> View:
    return make_view(rows)


@pytest.fixture(scope="module")
def tasks(make_rows: MakeRows) -> list[str]:
    return [row.description for row in make_rows(40, seed=99)]


def test_tasks_and_documents_lose_case_accents_inflection_and_stop_words() -> None:
    assert analyse("The Résumés, and PDF-form_filling!") == ["resum", "pdf", "form", "fill"]


@given(st.text())
def test_any_text_can_be_analysed(text: str) -> None:
    assert all(token for token in analyse(text))


def test_cjk_runs_become_bigrams_and_other_text_stays() -> None:
    assert lexical_text("use 数据库 now").split() == ["use", "数据", "据库", "now"]
    assert lexical_text("字").split() == ["字"]
    assert lexical_text("ＰＤＦ naïve") == "PDF naïve"


@pytest.mark.parametrize(
    ("document", "task"),
    [
        ("查询数据库并生成报表", "帮我优化数据库"),
        ("スプレッドシートを編集する", "このスプレッドシートを直して"),
        ("데이터베이스를 조회합니다", "데이터베이스 조회"),
    ],
)
def test_a_cjk_task_finds_the_cjk_skill(
    make_row: MakeRow, make_view: MakeView, document: str, task: str
) -> None:
    view = make_view([make_row(1, body="query a database"), make_row(2, body=document)])
    assert found(view, task) == [2]


def test_a_word_of_the_name_says_more_than_one_of_the_body(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view([make_row(1, body="invoice"), make_row(2, name="invoice")])
    assert found(view, "an invoice") == [2, 1]


def test_what_a_skill_says_it_is_not_for_does_not_find_it(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view([make_row(1, description="Merge sheets. NOT for invoices (use billing).")])
    assert found(view, "merge") == [1]
    assert found(view, "invoices") == []


@pytest.mark.parametrize("arm", ["tantivy", "rank-bm25"])
def test_a_share_rises_with_the_words_found_and_stays_within_1(
    view: View, rows: list[IndexRow], arm: str
) -> None:
    searcher: LexicalArm = TantivyArm() if arm == "tantivy" else RankBM25Arm.of(rows)
    known = rows[0].description
    whole = searcher.search(view, known, EVERYTHING, 5).hits
    part = searcher.search(view, f"{known} zzzzz qqqqq", EVERYTHING, 5).hits
    assert 1 >= whole[0].share > part[0].share > 0
    assert [hit.share for hit in whole] == sorted((hit.share for hit in whole), reverse=True)


def test_one_of_many_words_is_enough(make_row: MakeRow, make_view: MakeView) -> None:
    view = make_view([make_row(1, description="merge spreadsheets")])
    assert found(view, "please take my twelve spreadsheets and do something clever") == [1]


@pytest.mark.parametrize("task", ["", "what is it that you are", "?!", "zzzzz"])
def test_a_task_without_known_words_finds_nothing(view: View, task: str) -> None:
    assert found(view, task) == []


def test_the_idf_covers_unknown_words_and_falls_with_frequency(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view([make_row(i, body="common" + " rare" * (i == 0)) for i in range(9)])
    idf = TantivyArm().search(view, "common rare absent", EVERYTHING, 5).idf
    assert idf["common"] < idf["rare"] < idf["absent"]


def test_a_task_of_20000_characters_searches_its_rarest_words(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view(
        [make_row(0, body="needle"), *(make_row(i, body=f"w{i} w{i + 1}") for i in range(1, 2_500))]
    )
    task = " ".join(f"w{i}" for i in range(1, 4_000))[:19_990] + " needle"
    _, terms = weigh(analyse(task), [segment.words for segment in view.segments])
    assert len({term.token for term in terms[0]}) == MAX_TERMS
    assert 0 in found(view, task, MAX_TERMS * 2)


def test_the_skill_that_a_task_quotes_from_is_first_for_both_arms(
    view: View, rows: list[IndexRow]
) -> None:
    reference = RankBM25Arm.of(rows)
    for row in [row for row in rows if row.routable][:40]:
        task = f"{row.description} {' '.join(row.body.split()[::2])}"
        theirs = [hit.row for hit in reference.search(view, task, EVERYTHING, 1).hits]
        assert found(view, task, 1) == theirs == [row.row]


def test_over_bodies_alone_both_arms_rank_alike(
    make_rows: MakeRows, make_row: MakeRow, make_view: MakeView, tasks: list[str]
) -> None:
    rows = [make_row(r.row, name="", body=r.body) for r in make_rows(200, seed=6)]
    view, reference = make_view(rows), RankBM25Arm.of(rows)
    correlations = []
    for task in tasks:
        ours = {h.row: h.score for h in TantivyArm().search(view, task, EVERYTHING, 200).hits}
        theirs = {h.row: h.score for h in reference.search(view, task, EVERYTHING, 200).hits}
        # Where a word is in exactly half of the rows, rank-bm25 gives it no weight at all.
        both = [row for row in ours if row in theirs]
        ranks = [np.argsort(np.argsort([of[row] for row in both])) for of in (ours, theirs)]
        correlations.append(np.corrcoef(ranks[0], ranks[1])[0, 1])
    assert np.mean(correlations) > 0.9


@pytest.mark.parametrize("arm", ["tantivy", "rank-bm25"])
@pytest.mark.parametrize(
    "filters", [Filters(catalogues=("owner/c1",)), Filters(licences=("mit",), tags=("pdf",))]
)
def test_filters_act_before_the_top_k(
    view: View, rows: list[IndexRow], tasks: list[str], arm: str, filters: Filters
) -> None:
    searcher: LexicalArm = TantivyArm() if arm == "tantivy" else RankBM25Arm.of(rows)
    seen = view.visible(filters)[0].mask
    visible = set(view.generation.segment.rows.ids[seen].tolist())
    for task in tasks:
        everything = searcher.search(view, task, EVERYTHING, 300).hits
        expected = [hit for hit in everything if hit.row in visible][:5]
        got = searcher.search(view, task, filters, 5).hits
        assert [hit.row for hit in got] == [hit.row for hit in expected]
        assert [hit.score for hit in got] == pytest.approx([hit.score for hit in expected])


def test_wide_filters_over_many_rows_act_before_the_top_k_too(
    make_row: MakeRow, make_view: MakeView
) -> None:
    # The worst-matching rows, just too many to be listed inside the query, are the visible ones.
    rows = [
        make_row(i, vectors=(), body="target" + " filler" * (i % 97), tags=("t",) * (i % 97 > 20))
        for i in range(4_000)
    ]
    view = make_view(rows)
    tagged = Filters(tags=("t",))
    visible = {row.row for row in rows if row.tags}
    expected = [row for row in found(view, "target", 4_000) if row in visible]
    assert len(visible) > 2_000
    got = TantivyArm().search(view, "target", tagged, 50).hits
    everything = {h.row: h.score for h in TantivyArm().search(view, "target", tagged, 4_000).hits}
    assert set(everything) == set(expected)
    assert [hit.score for hit in got] == pytest.approx(sorted(everything.values())[::-1][:50])


def test_removed_rows_never_appear(view: View, tasks: list[str]) -> None:
    later = View(view.generation, view.delta.apply([], range(0, 300, 2)))
    assert all(row % 2 for task in tasks for row in found(later, task, 300))


def test_a_small_delta_is_scored_on_the_scale_of_everything(
    rows: list[IndexRow], make_view: MakeView, tasks: list[str]
) -> None:
    split, rebuilt = make_view(rows[:280], rows[280:]), make_view(rows)
    for task in tasks:
        whole = {h.row: h.score for h in TantivyArm().search(rebuilt, task, EVERYTHING, 300).hits}
        parts = {h.row: h.score for h in TantivyArm().search(split, task, EVERYTHING, 300).hits}
        assert parts.keys() == whole.keys()
        assert [parts[row] for row in whole] == pytest.approx(list(whole.values()), rel=0.1)


def test_a_clear_match_wins_wherever_it_lies(
    make_rows: MakeRows, make_row: MakeRow, make_view: MakeView
) -> None:
    rows = make_rows(50, seed=7)
    best = make_row(900, name="zebra-counter", description="count zebras")
    second = make_row(901, body="a zebra")
    for view in (make_view([*rows, best], [second]), make_view([*rows, second], [best])):
        assert found(view, "count the zebras") == [900, 901]


def test_the_reference_arm_can_be_extended(make_row: MakeRow, make_view: MakeView) -> None:
    first, second = make_row(1, body="alpha words here"), make_row(2, body="beta words there")
    third = make_row(3, body="gamma terms anywhere")
    view = make_view([first, second, third])
    arm = RankBM25Arm.of([]).extended([first, second]).extended([third])
    assert RankBM25Arm.of([]).search(view, "gamma", EVERYTHING, 5).hits == []
    assert [hit.row for hit in arm.search(view, "gamma", EVERYTHING, 5).hits] == [3]


def test_an_index_without_rows_finds_nothing() -> None:
    assert WordIndex.empty().documents == 0
    assert WordIndex.empty().search([], None, 5) == []
