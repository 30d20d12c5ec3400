"""Settings of the serving program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from core.settings import Settings
from reranker.load import OWN_RERANKER
from reranker.policy import SHIPPED


class AppSettings(Settings):
    """What `loadstar serve` reads beside the shared settings."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on")
    policy_file: Path = Field(default=SHIPPED, description="weights and thresholds in force")
    candidates: int = Field(default=100, ge=10, le=1000, description="skills that each arm returns")
    reranker: str = Field(
        default=OWN_RERANKER,
        description="folder or name of an exported reranker, `st:NAME`, `skillrouter:NAME`, "
        "or `overlap`",
    )
    rerank_depth: int = Field(
        default=16, ge=1, le=200, description="fused candidates that are read back and reranked"
    )
    rerank_tokens: int = Field(
        default=1056, ge=1, description="tokens of skills that are reranked for a route at most"
    )
    rerank_deadline_s: float = Field(
        default=1.0, gt=0, description="what is not scored by then keeps its fused place"
    )
    lexical_backend: Literal["tantivy", "rank_bm25"] = Field(
        default="tantivy", description="`rank_bm25` is for catalogues of a few hundred skills"
    )
    use_gpu: bool = Field(default=False, description="scan vectors on a GPU; needs extra `gpu`")
    max_in_flight: int = Field(
        default=64, ge=1, description="routes under way at once; one more is answered 429"
    )
    route_timeout_s: float = Field(
        default=10.0, gt=0, description="a route that takes longer is answered 503"
    )
    feed_poll_s: float = Field(
        default=0.25, gt=0, description="how often the feed of changes is read"
    )
    ledger_task: Literal["text", "hash", "nothing"] = Field(
        default="text", description="what the ledger keeps of a task"
    )
    ledger_days: int = Field(
        default=90, ge=0, description="days a route stays in the ledger; 0 keeps it for ever"
    )
    ledger_timeout_s: float = Field(
        default=0.05, gt=0, description="longest wait for the ledger before `recorded: false`"
    )
