"""The guide for an agent's author: its program runs, its requests are answered, no reason lacks."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from app.routing.contract import RouteRequest
from app.routing.decide import DECISION_REASONS, NOT_LOADED_REASONS
from tests.support import EXAMPLES

AGENT = EXAMPLES / "agent.py"
GUIDE = (EXAMPLES.parent / "docs" / "agents.md").read_text()
PLACE = "localhost:8080"
STARTS_IN_S = 60.0

NOTHING_NEAR = {"decision": "none", "reason": "nothing_near", "skills": [], "not_loaded": []}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[str]:
    """A real server process over the sample skills."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port)]
    with subprocess.Popen([*command, "--data-dir", str(data_dir)]) as process:
        try:
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_IN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("the server did not start")


def agent(server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the program prints; without the project's packages, as a user's copy runs."""
    command = [sys.executable, "-I", str(AGENT), *arguments, "--server", server]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def printed(server: str, *arguments: str) -> str:
    done = agent(server, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("more", "tokens"), [((), 595), (("--include", "none"), 595), (("--section", "recipes"), 221)]
)
def test_a_task_that_a_skill_fits_loads_it(server: str, more: Sequence[str], tokens: int) -> None:
    said = printed(server, "merge these PDFs", *more)
    assert said == (
        f"load (clear_match)\n  load pdf-merge-split ({tokens} tokens) for: merge these PDFs\n"
    )


def test_the_text_stands_fenced_in_the_context_and_is_not_loaded_twice(server: str) -> None:
    turn = json.loads(printed(server, "merge these PDFs", "--json"))
    fences = re.findall(r"^SKILL-\w{16}$", turn["context"], re.MULTILINE)
    assert len(fences) == 2 and fences[0] == fences[1]
    assert "qpdf" in turn["context"].split(fences[0] + "\n")[1]
    again = printed(server, "merge these PDFs", "--loaded", *turn["loaded"])
    assert again.startswith("none (already_loaded)\n")


def test_small_talk_goes_on_without_a_skill(server: str) -> None:
    said = printed(server, "thanks, that was great")
    assert said == "none (answerable_without)\n  go on without another skill\n"


def test_what_is_to_be_considered_is_loaded_only_if_picked(server: str) -> None:
    doubtful = ("merge these PDFs", "--max-false-load", "0.01", "--json")
    shown = json.loads(printed(server, *doubtful))
    assert (shown["decision"], shown["context"], shown["loaded"]) == ("consider", "", [])
    picked = json.loads(printed(server, *doubtful, "--pick", "pdf-merge-split"))
    assert "qpdf" in picked["context"] and len(picked["loaded"]) == 1


def test_a_small_budget_gets_a_section_or_the_choice_of_one(server: str) -> None:
    said = printed(server, "split contract.pdf at its bookmarks", "--token-budget", "100")
    assert "load pdf-merge-split (88 tokens)" in said
    said = printed(server, "merge these PDFs", "--token-budget", "100")
    assert "choose a section of pdf-merge-split: " in said and "Recipes (221)" in said


def test_a_missing_section_is_named_and_does_not_stop_the_agent(server: str) -> None:
    said = printed(server, "merge these PDFs", "--section", "nope")
    assert "has no section 'nope'" in said and said.endswith("go on without another skill\n")


def test_without_a_server_it_goes_on_without_a_skill() -> None:
    said = printed(f"http://127.0.0.1:{free_port()}", "merge these PDFs")
    assert said.startswith("none (unavailable)\n  go on without a skill: ")


def test_a_wrong_request_is_told_field_by_field(server: str) -> None:
    done = agent(server, "merge these PDFs", "--max-false-load", "7", "--token-budget", "0")
    assert done.returncode == 2
    assert "max_false_load: " in done.stderr and "token_budget: " in done.stderr


def test_help_has_an_example() -> None:
    done = subprocess.run([sys.executable, AGENT, "--help"], capture_output=True, text=True)
    assert "Example: python examples/agent.py" in done.stdout


class Busy(BaseHTTPRequestHandler):
    """Answers as its server's `script` says, one status after the other; None is no answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.script.pop(0)  # type: ignore[attr-defined]
        if status is None:
            time.sleep(2)
            return
        body = json.dumps(
            NOTHING_NEAR if status == 200 else {"code": "overloaded", "detail": "Busy."}
        )
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([429, 503, 200], "none (nothing_near)"),
        (
            [503, 503, 503],
            "none (unavailable)\n  go on without a skill: overloaded: Busy., 3 times",
        ),
        ([500], "none (unavailable)\n  go on without a skill: overloaded: Busy."),
        ([None], "none (unavailable)\n  go on without a skill: timed out"),
    ],
)
def test_a_busy_broken_or_silent_server_is_borne(script: list[int | None], outcome: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as busy:
        busy.script = list(script)  # type: ignore[attr-defined]
        threading.Thread(target=busy.serve_forever, daemon=True).start()
        said = printed(f"http://127.0.0.1:{busy.server_port}", "merge", "--timeout", "0.5")
        busy.shutdown()
    assert said.startswith(outcome)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def curls() -> list[list[str]]:
    """Every curl command of the guide, in words."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("curl ")]


def test_the_program_in_the_guide_is_the_file() -> None:
    assert blocks("python") == [AGENT.read_text()]


def test_every_reason_is_in_the_guide_with_what_to_do() -> None:
    for reason in DECISION_REASONS:
        assert re.search(rf"^\| `(load|consider|none)` \| `{reason}` \| \w", GUIDE, re.MULTILINE)
    for reason in NOT_LOADED_REASONS:
        assert re.search(rf"^\| `{reason}` \| \w", GUIDE, re.MULTILINE), reason


@pytest.mark.parametrize("words", curls(), ids=lambda words: words[-1][:40])
def test_every_curl_in_the_guide_is_answered(server: str, words: list[str]) -> None:
    (place,) = [word for word in words if word.startswith(PLACE)]
    url = place.replace(PLACE, server)
    if "-d" not in words:
        assert httpx.get(url).is_success
        return
    body = json.loads(words[words.index("-d") + 1])
    assert httpx.post(url, json=body).is_success
    if place.endswith("/route"):
        RouteRequest.model_validate(body)


def test_the_answer_in_the_guide_is_what_the_server_says(server: str) -> None:
    shown, small_talk = map(json.loads, blocks("json"))
    tasks = [json.loads(words[words.index("-d") + 1]) for words in curls()[:2]]
    given, none = (httpx.post(f"{server}/v1/route", json=task).json() for task in tasks)
    for name in ("id", "name", "tokens", "serves", "content"):
        assert shown["skills"][0][name] == given["skills"][0][name]
    assert (shown["decision"], shown["reason"]) == (given["decision"], given["reason"])
    assert (small_talk["decision"], small_talk["reason"]) == (none["decision"], none["reason"])
    assert given["confidence"] == pytest.approx(shown["confidence"], abs=0.1)
