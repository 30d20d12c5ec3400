"""Which skill names a task calls, and that only a unique visible one counts."""

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.names import NameIndex, called, normalised
from core.retrieval.view import View
from core.types import Filters, IndexRow

MakeRow = Callable[..., IndexRow]
MakeView = Callable[..., View]

NAMES = NameIndex(
    [
        "weather",
        "code-review-help",
        "PDF Form Filler",
        "my-c++-helper",
        "code",
        "testing",
        "k6-load-testing",
        "résumé-tips",
    ]
)


@pytest.mark.parametrize(
    "task",
    [
        "/weather in Paris",
        "Plan a trip:\n  /weather in Paris",
        "- /weather in Paris",
        "run /weather.",
        'use "weather" today',
        "Use 'Weather', please",
        "try the `weather`",
        "use “weather” today",
        "call my weather skill",
        "Using the weather skill, plan a trip",
        "the `weather` skill should know",
        "load the skill `weather`",
        "use 'em: run the weather skill and don't ask",
    ],
)
def test_a_name_of_one_word_is_called(task: str) -> None:
    assert called(task, [NAMES]) == ["weather"]


@pytest.mark.parametrize(
    "task",
    [
        "what is the weather tomorrow in Paris",
        "use the weather of tomorrow",
        "see /var/weather and /weather/today",
        "/weather.txt",
        "/weather:today",
        "https://example.org/weather",
        "I just finished /weather and it failed",
        'I have a `.weather` file with "weather" in it',
        "import it with `code` in place",
        "good at weather skill tests",
        "code review help",
        "implement PDF Form Filler and kill switches",
        'use "code\'s style"',
        "use --code, run -code and use code_",
        "re-use weather skill",
        "use the weather. Skill is needed",
        "do not use the weather skill",
        "don't run code-review-help",
        "never use the code-review-help skill",
        "without the `weather` skill",
        "instead of using /weather",
    ],
)
def test_what_is_only_said_is_no_call(task: str) -> None:
    assert called(task, [NAMES]) == []


@pytest.mark.parametrize(
    "task",
    [
        "/code-review-help",
        "use code-review-help now",
        "Run the CODE_REVIEW_help, now",
        "use the code review help skill",
        "use your code-review-help skill",
        "run it with the code-review-help skill",
        "Use code-review-help because that skill is great",
        'with the "Code  Review Help" skill',
    ],
)
def test_hyphen_underscore_space_and_case_are_equal(task: str) -> None:
    assert called(task, [NAMES]) == ["code review help"]


def test_names_with_marks_and_accents_are_called() -> None:
    assert called("use `my C++ helper` here", [NAMES]) == ["my c++ helper"]
    assert called(unicodedata.normalize("NFD", "use résumé-tips"), [NAMES]) == ["résumé tips"]


def test_the_longest_name_before_the_word_skill_is_meant() -> None:
    assert called("use the k6 load testing skill", [NAMES]) == ["k6 load testing"]


def test_names_come_in_the_tasks_order_each_once_from_every_index() -> None:
    task = "use `weather`, run alpha-beta, and use the weather skill and the code-review-help skill"
    found = called(task, [NAMES, NameIndex(["alpha beta"])])
    assert found == ["weather", "alpha beta", "code review help"]
    task = "run code-review-help before you use `weather`"
    assert called(task, [NAMES]) == ["code review help", "weather"]


WORDS = st.sampled_from(["red", "green", "use", "load", "skill", "run"])


@given(st.lists(WORDS, min_size=2, max_size=8))
def test_any_name_of_two_to_eight_words_is_called(words: list[str]) -> None:
    name, spaced = "-".join(words), " ".join(words)
    for task in (
        f"please use {name} for me",
        f"first use the {spaced} skill",
        f"with the {name} skill",
        f"/{name} go",
    ):
        assert called(task, [NameIndex([name])]) == [spaced]


@given(st.text(), st.text())
def test_any_text_can_be_read_for_names(task: str, name: str) -> None:
    assert called(task, [NameIndex([name])]) in ([], [normalised(name)])


@pytest.mark.parametrize(
    "piece",
    ["a-", "a_", "use ", "use a ", "`", "\n", " ", "a", "/a ", "the ", "a skill ", 'use "a" '],
)
def test_a_task_of_the_longest_length_is_read_in_a_moment(piece: str) -> None:
    task = "use " + piece * (20_000 // len(piece))
    started = time.perf_counter()
    assert called(task, [NAMES]) == []
    assert time.perf_counter() - started < 0.5


def test_a_name_wins_only_where_it_is_unique_among_the_visible(
    make_row: MakeRow, make_view: MakeView
) -> None:
    view = make_view(
        [make_row(1, name="code-review-help", catalogue="a/x"), make_row(2, name="solo-set")],
        [make_row(3, name="code_review_help", catalogue="b/y")],
    )
    task = "run code-review-help and use solo-set"
    assert view.called(task, Filters()) == [2]
    assert view.called(task, Filters(catalogues=("b/y",))) == [3]
    without_first = View(view.generation, view.delta.apply([], [1]))
    assert without_first.called(task, Filters()) == [3, 2]


def test_an_internal_skill_is_never_called(make_row: MakeRow, make_view: MakeView) -> None:
    view = make_view([make_row(1, name="secret-skill", routable=False)])
    assert view.called("/secret-skill", Filters()) == []
