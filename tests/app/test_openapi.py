"""The served OpenAPI document equals the stored snapshot: a change of contract is seen in review.

After a wanted change: `python -m tests.app.test_openapi` writes the snapshot anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.main import add_resources

SNAPSHOT = Path(__file__).with_name("openapi.json")


def served() -> dict[str, Any]:
    app = FastAPI(title="Loadstar", version="1")
    add_resources(app)
    return app.openapi()


def test_the_contract_is_the_stored_one() -> None:
    assert served()["paths"] == json.loads(SNAPSHOT.read_text())["paths"]
    assert served()["components"] == json.loads(SNAPSHOT.read_text())["components"]


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(served(), indent=1, sort_keys=True) + "\n")
