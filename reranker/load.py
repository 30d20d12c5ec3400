"""The second stage by name."""

from __future__ import annotations

from core.embedding import model_folder
from core.types import Space
from reranker.overlap import OverlapReranker, Reranker

OWN_RERANKER = "loadstar-reranker"


def load_reranker(spec: str, *, threads: int = 2, space: Space | None = None) -> Reranker:
    """The second stage that `spec` names; in `space`, where one is given.

    `spec` is `overlap`; a folder with a `reranker.json`, or the name of one under `models/`;
    `st:NAME` for any sentence-transformers cross-encoder, a local folder or a hub name; or
    `skillrouter:NAME` for a causal model that answers yes or no in SkillRouter's prompt format.

    Raises ModelMissingError, naming the file or the extra that is missing, or where our reranker
    was trained over the first stage of another encoder than the space's.
    """
    if spec == OverlapReranker.name:
        return OverlapReranker()
    if spec.startswith("st:"):
        from reranker.cross_encoder import SentenceTransformersCrossEncoder

        return SentenceTransformersCrossEncoder(spec.removeprefix("st:"))
    if spec.startswith("skillrouter:"):
        from reranker.skillrouter import SkillRouterReranker

        return SkillRouterReranker(spec.removeprefix("skillrouter:"))
    from reranker.late_interaction import LateInteractionReranker

    return LateInteractionReranker(model_folder(spec), threads=threads, space=space)
