from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.names import NameIndex, mentions, normalised
from core.retrieval.view import View
from core.types import Filters, IndexRow

MakeRow = Callable[..., IndexRow]
MakeView = Callable[..., View]

NAMES = NameIndex(
    [
        "weather",
        "code-review-help",
        "code_review_help_security",
        "PDF Form Filler",
        "my-c++-helper",
        "résumé-tips-list",
    ]
)


@pytest.mark.parametrize(
    "task",
    [
        'use "weather" today',
        "use 'weather' today",
        "use `weather` today",
        "use “weather” today",
        'use "Weather", please',
        "/weather in Paris",
        "run /weather.",
    ],
)
def test_a_quoted_or_slash_called_name_may_be_one_word(task: str) -> None:
    assert mentions(task, [NAMES]) == ["weather"]


@pytest.mark.parametrize(
    "task",
    [
        "what is the weather tomorrow in Paris",
        "see /var/weather and /weather/today",
        "open /weather.txt",
        "https://example.org/weather",
        "it's cold and that's the weather's fault",
    ],
)
def test_a_bare_word_a_path_and_a_url_are_no_mention(task: str) -> None:
    assert mentions(task, [NAMES]) == []


@pytest.mark.parametrize(
    "task",
    [
        "Do a code review help now",
        "do a CODE-REVIEW-help now",
        "do a code_review_help, now",
        "(code review help)",
        "a code  review help.",
        '"code-review-help"',
        "/code_review_help",
    ],
)
def test_hyphen_underscore_space_and_case_are_equal(task: str) -> None:
    assert mentions(task, [NAMES]) == ["code review help"]


@pytest.mark.parametrize(
    "task",
    ["code review. Help it", "help review code", "code the review help", "mycode review help"],
)
def test_the_words_must_be_verbatim_and_contiguous(task: str) -> None:
    assert mentions(task, [NAMES]) == []


def test_two_words_in_a_row_are_chance_unless_they_are_called() -> None:
    names = [NameIndex(["data-report"])]
    assert mentions("write the data report for me", names) == []
    assert mentions('use "data report" for me', names) == ["data report"]


def test_the_longest_name_counts_where_names_overlap() -> None:
    assert mentions("a code review help security check", [NAMES]) == ["code review help security"]


def test_names_with_marks_and_accents_are_found() -> None:
    assert mentions("ask my C++ helper, then Résumé tips list.", [NAMES]) == [
        "my c++ helper",
        "résumé tips list",
    ]


def test_called_names_come_before_verbatim_ones() -> None:
    task = "after the pdf form filler try `weather`"
    assert mentions(task, [NAMES]) == ["weather", "pdf form filler"]


def test_names_of_both_indexes_are_found() -> None:
    assert mentions(
        "alpha beta gamma, code review help", [NAMES, NameIndex(["alpha-beta-gamma"])]
    ) == [
        "alpha beta gamma",
        "code review help",
    ]


@given(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=3, max_size=8))
def test_any_name_of_three_to_eight_words_is_found_inside_a_task(words: list[str]) -> None:
    task = f"please run {' '.join(words)} for me"
    assert mentions(task, [NameIndex(["-".join(words)])]) == [" ".join(words)]


@given(st.text(), st.text())
def test_any_text_can_be_read_for_names(task: str, name: str) -> None:
    found = mentions(task, [NameIndex([name])])
    assert found in ([], [normalised(name)])


def test_a_name_wins_only_where_it_is_unique_among_the_visible(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view(
        [make_row(1, name="code-review-help", catalogue="a/x"), make_row(2, name="solo-skill-set")],
        [make_row(3, name="code_review_help", catalogue="b/y")],
    )
    task = "run code-review-help and solo skill set"
    assert view.mentioned(task, Filters()) == [2]
    assert view.mentioned(task, Filters(catalogues=("b/y",))) == [3]
    without_first = View(view.generation, view.delta.apply([], [1]))
    assert without_first.mentioned(task, Filters()) == [3, 2]


def test_an_internal_skill_is_never_mentioned(make_row: MakeRow, make_view: MakeView) -> None:
    view = make_view([make_row(1, name="secret-skill", routable=False)])
    assert view.mentioned('"secret-skill"', Filters()) == []
