"""Verify an HMAC-SHA256 webhook signature over `timestamp.body`; exit status 0 means genuine."""

import argparse
import hashlib
import hmac
import os
import time
from collections.abc import Iterable
from pathlib import Path

TOLERANCE_S = 300


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The hex signature that a sender with this secret gives the body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def is_genuine(
    body: bytes, timestamp: str, signature: str, secrets: Iterable[str], now: float
) -> bool:
    """True when the time is near `now` (seconds) and any secret gives the signature."""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    given = signature.encode()
    return any(
        hmac.compare_digest(sign(secret, timestamp, body).encode(), given) for secret in secrets
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("body", type=Path, help="file with the raw body")
    parser.add_argument("timestamp", help="Unix seconds, as in the header")
    parser.add_argument("signature", help="hex, as in the header")
    given = parser.parse_args()
    secrets = os.environ.get("WEBHOOK_SECRETS", "").split()
    genuine = is_genuine(
        given.body.read_bytes(), given.timestamp, given.signature, secrets, time.time()
    )
    print("genuine" if genuine else "refused")
    raise SystemExit(0 if genuine else 1)


if __name__ == "__main__":
    main()
