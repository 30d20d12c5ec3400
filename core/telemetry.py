"""The metrics that the programs report; docs/operations.md explains each."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)

ROUTES = Counter("loadstar_routes_total", "Routes answered", ["decision", "reason"])
STAGE_SECONDS = Histogram(
    "loadstar_stage_seconds", "Time of one stage of a route", ["stage"], buckets=_SECONDS
)
RERANK_DEGRADED = Counter(
    "loadstar_rerank_degraded_total", "Routes whose reranker was late or failed", ["why"]
)
RERANK_PAIRS = Counter("loadstar_rerank_pairs_total", "Pairs of task and skill that were read")
RERANK_TOKENS = Counter("loadstar_rerank_tokens_total", "Tokens that were read for these pairs")
DECISION_DRIFT = Gauge(
    "loadstar_decision_drift",
    "Population stability index of the last routes against the calibration rows",
    ["scored_by", "feature"],
)
IN_FLIGHT = Gauge("loadstar_routes_in_flight", "Routes and explanations under way")
UNRECORDED = Counter("loadstar_routes_unrecorded_total", "Routes that missed the ledger's deadline")
LEDGER_ERRORS = Counter("loadstar_ledger_errors_total", "Ledger commits that failed")
ERRORS = Counter("loadstar_errors_total", "Requests answered with an error", ["code"])
FEED_LAG = Gauge("loadstar_feed_lag", "Changes in the feed that this process has not applied")
FEED_ERRORS = Counter("loadstar_feed_errors_total", "Polls of the feed that failed")
GENERATION_ROWS = Gauge("loadstar_generation_rows", "Skills in the loaded generation")
DELTA_ROWS = Gauge("loadstar_delta_rows", "Skills in this process's delta")
