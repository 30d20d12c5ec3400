"""RFC 9457 problem+json for every error; the one table that gives an error its HTTP status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from core.errors import (
    DatabaseUnavailableError,
    DeadlineError,
    InvalidFilterError,
    LoadstarError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
)
from core.telemetry import ERRORS

log = logging.getLogger(__name__)

STATUS: Mapping[type[LoadstarError], int] = {
    InvalidFilterError: 422,
    NotFoundError: 404,
    OverloadedError: 429,
    DeadlineError: 503,
    NotReadyError: 503,
    DatabaseUnavailableError: 503,
}

# Codes that no LoadstarError carries: the request never reached a use case.
HTTP_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    500: "internal",
}

RETRY_AFTER_S = 1


class Problem(JSONResponse):
    """A problem+json body with a stable `code`."""

    media_type = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Problem:
    """The response for one error; `more` are extension members, as RFC 9457 calls them."""
    ERRORS.labels(code).inc()
    body = {
        "type": f"urn:loadstar:error:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return Problem(body, status_code=status, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Answer every error of `app` as problem+json."""
    app.add_exception_handler(LoadstarError, _loadstar_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_exception_handler(Exception, _internal_error)


async def _loadstar_error(_: Request, error: Exception) -> Problem:
    assert isinstance(error, LoadstarError)
    status = STATUS.get(type(error), 500)
    retry = {"Retry-After": str(getattr(error, "retry_after_s", RETRY_AFTER_S))}
    headers = retry if status in (429, 503) else None
    return problem(status, error.code, error.detail, headers=headers)


async def _invalid_request(_: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    findings = [
        {"field": ".".join(str(part) for part in found["loc"][1:]), "reason": found["msg"]}
        for found in error.errors()
    ]
    if any(found["type"] == "json_invalid" for found in error.errors()):
        return problem(400, "malformed_request", "The body is not valid JSON.", errors=findings)
    detail = "; ".join(f"{f['field'] or 'body'}: {f['reason']}" for f in findings)
    return problem(422, "invalid_request", detail, errors=findings)


async def _http_error(_: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    code = HTTP_CODES.get(error.status_code, "http_error")
    return problem(error.status_code, code, str(error.detail), headers=error.headers)


async def _database_error(_: Request, error: Exception) -> Problem:
    log.error("database error: %s", str(error).splitlines()[0])
    return problem(
        503,
        DatabaseUnavailableError.code,
        "The database did not answer; try again.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _internal_error(request: Request, error: Exception) -> Problem:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "internal", "An internal error; the log has its cause.")
