"""Routed skills that the tests of the evaluation are made of."""

from __future__ import annotations

from app.routing.contract import RoutedSkill, Scores, Tokens, Twin


def a_routed_skill(
    path: str,
    *,
    p: float = 0.5,
    final: float = 0.5,
    rerank: float | None = 0.5,
    body: int = 100,
    twins: tuple[str, ...] = (),
    exact_name: bool = False,
    catalogue: str = "acme/skills",
) -> RoutedSkill:
    return RoutedSkill(
        id=f"skl_{path}",
        catalogue=catalogue,
        path=path,
        name=path,
        description=f"Does {path}.",
        version=None,
        digest="sha256:0",
        uri=f"/v1/skills/skl_{path}",
        p_useful=p,
        scores=Scores(lexical=None, dense=None, fused=final, rerank=rerank, final=final),
        exact_name=exact_name,
        section="",
        snippet="",
        tokens=Tokens(routing=10, body=body, files=0),
        trust="unreviewed",
        licence=None,
        language="en",
        twins=[Twin(id=f"skl_{twin}", catalogue="other/skills", path=twin) for twin in twins],
    )
