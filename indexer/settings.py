"""Settings of the ingestion worker."""

from __future__ import annotations

from pydantic import Field

from core.settings import Settings


class IndexerSettings(Settings):
    """What `loadstar index` reads beside the shared settings."""

    batch_skills: int = Field(
        default=512, ge=1, le=10_000, description="skills published in one transaction"
    )
    rebuild_after: int = Field(
        default=1_000, ge=1, description="changes since the generation that call for a new one"
    )
    keep_generations: int = Field(
        default=2, ge=1, description="generations kept on disk, the current one included"
    )
