"""The docs can fail: every setting, error code and metric, and every local link."""

from __future__ import annotations

import re
from pathlib import Path

import prometheus_client
import pytest

from app.http_errors import HTTP_CODES, STATUS
from app.routing.course import EXPLAIN_REASONS
from app.routing.decide import DECISION_REASONS, NOT_LOADED_REASONS
from app.settings import AppSettings
from core import errors, telemetry
from core.settings import PREFIX
from indexer.settings import IndexerSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def named(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text))


def test_every_setting_is_documented_and_no_other() -> None:
    settings = {*AppSettings.model_fields, *IndexerSettings.model_fields}
    documented = named(page("configuration.md"), rf"\n\| `({PREFIX}\w+)` \|")
    assert documented == {PREFIX + name.upper() for name in settings}


@pytest.mark.parametrize("field", ["port", "candidates", "rerank_depth", "max_in_flight"])
def test_a_documented_default_is_the_real_one(field: str) -> None:
    default = AppSettings.model_fields[field].default
    assert f"| `{PREFIX}{field.upper()}` | `{default}` |" in page("configuration.md")


def test_every_error_code_is_documented() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LoadstarError)
    ]
    for code in {kind.code for kind in kinds} | set(HTTP_CODES.values()):
        assert f"`{code}`" in page("api.md"), code


def test_the_documented_status_of_an_error_is_the_one_it_gets() -> None:
    for kind, status in STATUS.items():
        assert f"| {status} | `{kind.code}` |" in page("api.md")


def test_every_reason_is_documented() -> None:
    for reason in (*DECISION_REASONS, *NOT_LOADED_REASONS, *EXPLAIN_REASONS):
        assert f"| `{reason}` |" in page("api.md"), reason


def test_every_metric_is_documented_and_no_other() -> None:
    ours = {
        metric._name  # the name that the exposition starts with
        for metric in vars(telemetry).values()
        if isinstance(metric, prometheus_client.metrics.MetricWrapperBase)
    }
    documented = named(page("operations.md"), r"`(loadstar_\w+)`")
    assert {name.removesuffix("_total") for name in documented} == ours


def test_every_local_link_leads_somewhere() -> None:
    for file in PAGES:
        for target in named(file.read_text(), r"\]\(([^)#:]+)(?:#[^)]*)?\)"):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_readmes_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("serve", "test"):
        assert f"make {target}" in (ROOT / "README.md").read_text()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
