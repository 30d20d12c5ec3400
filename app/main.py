"""Builds the serving process: settings in, a FastAPI application out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import http_errors
from app.api import catalogues, content, explain, health, route, skills
from app.api.dependencies import Parts
from app.api.limits import BodyLimit
from app.routing.contract import RouteRequest
from app.routing.follower import Follower
from app.routing.ledger import Ledger
from app.routing.router import Router, Timings
from app.routing.second_stage import SecondStage
from app.settings import AppSettings
from core.background import BACKGROUND_QUERIES
from core.db import ledger_url, open_database
from core.embedding import load_embedder
from core.errors import ModelMissingError
from core.retrieval.generation import Generation
from core.types import Space
from reranker.load import OWN_RERANKER, load_reranker
from reranker.need import load_need
from reranker.overlap import OverlapReranker, Reranker
from reranker.policy import load_policy

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_parts(
    settings: AppSettings, reranker: Reranker | None = None
) -> AsyncIterator[Parts]:
    """The process's long-lived objects, started and at the end stopped in order.

    `reranker` takes the place of the one that the settings name. Raises LoadstarError with what
    to do where a model, the database or the generation is not usable.
    """
    embedder = load_embedder(settings.encoder, threads=settings.threads)
    policy = load_policy(settings.policy_file)
    background = embedder.embed(BACKGROUND_QUERIES)
    engine = await open_database(settings.catalogue_url, create=True)
    ledger_engine = await open_database(ledger_url(settings.catalogue_url), create=True)
    executor = ThreadPoolExecutor(max_workers=settings.threads + 2, thread_name_prefix="route")
    ledger = Ledger(
        ledger_engine,
        keep=settings.ledger_task,
        days=settings.ledger_days,
        timeout_s=settings.ledger_timeout_s,
    )
    follower = Follower(
        engine,
        Generation.empty(embedder.space, background),
        settings.generations_dir,
        executor,
        poll_s=settings.feed_poll_s,
        gpu=settings.use_gpu,
        rank_bm25=settings.lexical_backend == "rank_bm25",
    )
    second_stage = SecondStage(
        reranker or load_second_stage(settings, embedder.space),
        policy,
        deadline_s=settings.rerank_deadline_s,
        tokens=settings.rerank_tokens,
    )
    router = Router(
        settings=settings,
        engine=engine,
        follower=follower,
        embedder=embedder,
        second_stage=second_stage,
        policy=policy,
        need=load_need(embedder.space),
        ledger=ledger,
        executor=executor,
    )
    try:
        await follower.start()
        await ledger.start()
        # The first route would pay for thread pools, kernels and pages of the mapped files.
        await router.answer(RouteRequest(task="warm up"), follower.snapshot, Timings())
        yield Parts(engine=engine, embedder=embedder, follower=follower, router=router)
    finally:
        await ledger.stop()
        await follower.stop()
        second_stage.close()
        executor.shutdown(cancel_futures=True)
        await ledger_engine.dispose()
        await engine.dispose()


def load_second_stage(settings: AppSettings, space: Space) -> Reranker:
    """The reranker of the settings; word overlap where our own is not whole, or not for `space`.

    Raises ModelMissingError for any other.
    """
    try:
        return load_reranker(settings.reranker, threads=settings.threads, space=space)
    except ModelMissingError as error:
        if settings.reranker != OWN_RERANKER:
            raise
        log.warning("routes are scored by word overlap: %s", error.detail)
        return OverlapReranker()


def create_app(parts: Parts) -> FastAPI:
    """The application over opened parts."""
    app = FastAPI(
        title="Loadstar",
        version="1",
        summary="The skill router that knows when not to load",
    )
    app.state.parts = parts
    app.add_middleware(BodyLimit)
    add_resources(app)
    http_errors.install(app)
    return app


def add_resources(app: FastAPI) -> None:
    """Every path that the application answers."""
    for resource in (route, explain, skills, content, catalogues, health):
        app.include_router(resource.router)
