"""A bound on request bodies, whatever their headers claim.

FastAPI's own `max_body_size` answers in plain text, which is no problem+json.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http_errors import problem

# A route's longest valid body: 21 texts of 20,000 characters at 4 bytes, and their JSON escapes.
MAX_BODY_BYTES = 4_000_000


class BodyLimit:
    """Answers 413 as soon as more than MAX_BODY_BYTES have come in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, messages = 0, list[Message]()
        while scope["method"] in ("POST", "PUT", "PATCH"):
            message = await receive()
            messages.append(message)
            body += len(message.get("body", b""))
            if body > MAX_BODY_BYTES:
                detail = f"A body may have {MAX_BODY_BYTES} bytes at most."
                await problem(413, "too_large", detail)(scope, receive, send)
                return
            if not message.get("more_body", False):
                break

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, replay, send)
