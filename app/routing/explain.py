"""Why a skill was or was not offered: what each stage of a route saw of it; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set

from app.routing.answer import Judged
from app.routing.contract import RouteAnswer, Twin
from app.routing.course import EXPLAIN_REASONS, Course, Looked, Seen
from app.routing.decide import NOT_LOADED_REASONS
from app.routing.explained import (
    DecisionStage,
    DenseStage,
    Explained,
    FeatureShare,
    FusedStage,
    LexicalStage,
    NamedStage,
    OfferedStage,
    RerankStage,
    Stage,
    VisibleStage,
    Word,
)
from app.routing.needs import document
from app.routing.select import snippet
from app.routing.stages import Found
from core.retrieval.names import NameIndex, called
from core.types import Filters, SkillVersion, Trust
from reranker.decision import FEATURES
from reranker.overlap import excluded_words, word_weights

_REASONS = {**NOT_LOADED_REASONS, **EXPLAIN_REASONS}


def staged(judged: Sequence[Judged], course: Course) -> dict[str, list[Stage]]:
    """What each stage saw of the skills of an answer, by id."""
    return {
        each.scored.version.skill_id: stages(each, course.returned(each.scored.version.row), course)
        for each in judged
    }


def explained(
    version: SkillVersion, looked: Looked, course: Course, reply: RouteAnswer, k: int
) -> Explained:
    """All that the route of `reply`, for `k` skills, saw of a version."""
    judged = course.judged(version, looked, k)
    reason = course.reason(version)
    section, text = snippet(judged.scored)
    return Explained(
        id=version.skill_id,
        catalogue=version.catalogue,
        path=version.path,
        name=version.name,
        digest=version.digest,
        decision=reply.decision,
        reason=reply.reason,
        confidence=reply.confidence,
        offered=reason is None,
        not_offered=reason,
        section=section,
        snippet=text,
        stages=stages(judged, looked, course),
        policy=reply.policy,
        models=reply.models,
        generation=reply.generation,
        seq=reply.seq,
    )


def stages(judged: Judged, looked: Looked, course: Course) -> list[Stage]:
    """What each stage saw of a skill, in the order in which a route passes them."""
    version = judged.scored.version
    return [
        _visible(version, course),
        _lexical(version, looked, course),
        _dense(version, looked, course),
        _fused(version, course),
        _named(version, course.found),
        _reranked(version, course),
        _decided(judged, course),
        _offered(version, course),
    ]


def _visible(version: SkillVersion, course: Course) -> VisibleStage:
    hidden = _hidden_by(version, course.found.filters)
    visible = course.visible(version.row)
    if not visible and not hidden:
        hidden = {"not_indexed": "this version is not in the index; it may be a moment old"}
    return VisibleStage(
        visible=visible,
        hidden_by=list(hidden),
        says=f"Hidden: {'; '.join(hidden.values())}." if hidden else "The request can see it.",
    )


def _hidden_by(version: SkillVersion, filters: Filters) -> dict[str, str]:
    """What hides a version, and why, as `RowTable.mask` applies it."""
    trust, floor = version.trust, filters.trust_floor
    missing = [tag for tag in filters.tags if not _among(tag, version.tags)]
    applied = {
        "not_routable": (not version.routable, "its SKILL.md says that no model may choose it"),
        "quarantined": (trust is Trust.QUARANTINED, "it is quarantined"),
        "trust_floor": (
            Trust.QUARANTINED < trust < floor,
            f"its trust is {trust.name.lower()}, below {floor.name.lower()}",
        ),
        "catalogue": (
            bool(filters.catalogues) and version.catalogue not in filters.catalogues,
            f"its catalogue {version.catalogue} is not among those asked for",
        ),
        "licence": (
            bool(filters.licences) and not _among(version.licence or "", filters.licences),
            f"its licence ({version.licence or 'none'}) is not among those asked for",
        ),
        "language": (
            bool(filters.languages) and not _among(version.language, filters.languages),
            f"its language ({version.language}) is not among those asked for",
        ),
        "tags": (bool(missing), f"it does not carry the tags {', '.join(missing)}"),
    }
    return {name: why for name, (hides, why) in applied.items() if hides}


def _among(word: str, words: Sequence[str]) -> bool:
    return word.casefold() in [each.casefold() for each in words]


def _lexical(version: SkillVersion, looked: Looked, course: Course) -> LexicalStage:
    idf, seen = course.found.lexical.idf, looked.lexical
    held = word_weights(document(version)).keys()
    said = f"It holds {len(idf.keys() & held)} of the task's {len(idf)} words"
    return LexicalStage(
        rank=seen.rank,
        score=seen.hit.score if seen.hit else None,
        held=_words(idf, held),
        lacking=_words(idf, idf.keys() - held),
        excluded=_words(idf, excluded_words(version.name, version.description)),
        says=f"{said}; {_ranked_by('words', seen, looked.depth, course.depth)}.",
    )


def _words(idf: Mapping[str, float], among: Set[str]) -> list[Word]:
    """The task's words that are among these, those that say most first."""
    told = [Word(word=word, idf=weight) for word, weight in idf.items() if word in among]
    return sorted(told, key=lambda each: (-each.idf, each.word))


def _dense(version: SkillVersion, looked: Looked, course: Course) -> DenseStage:
    seen, hit = looked.dense, looked.dense.hit
    cosine = f"{hit.score:.2f}" if hit else "unknown"
    said = f"The cosine of its best passage is {cosine}"
    return DenseStage(
        rank=seen.rank,
        cosine=hit.score if hit else None,
        section=_heading(version, hit.passage) if hit else None,
        says=f"{said}; {_ranked_by('meaning', seen, looked.depth, course.depth)}.",
    )


def _heading(version: SkillVersion, passage: int | None) -> str | None:
    if passage is None or passage >= len(version.passages):
        return None
    return version.passages[passage].section


def _ranked_by(what: str, seen: Seen, depth: int, returned: int) -> str:
    if seen.rank is None:
        return f"by its {what} it is not among the {depth:,} best that can be seen"
    place = f"by its {what} it comes {_ordinal(seen.rank)}"
    return place if seen.rank <= returned else f"{place}, and the {returned} best go on"


def _fused(version: SkillVersion, course: Course) -> FusedStage:
    rank, score = course.fused.get(version.row, (None, None))
    read_back = course.read_back(version.row) is not None
    said = f"Both arms together put it {_ordinal(rank)}" if rank else "Neither arm returned it"
    most = len(course.found.candidates)
    fate = "it was read back" if read_back else f"{most} others were read back instead"
    return FusedStage(rank=rank, score=score, read_back=read_back, says=f"{said}; {fate}.")


def _named(version: SkillVersion, found: Found) -> NamedStage:
    named = version.row in found.named
    if named:
        said = "The task calls it by its name, so it comes first"
    elif called(found.task, [NameIndex([version.name])]):
        said = "The task calls its name, but others that it can see bear it too"
    else:
        said = "The task does not call it by its name"
    return NamedStage(named=named, says=f"{said}.")


def _reranked(version: SkillVersion, course: Course) -> RerankStage:
    own, home = course.read_back(version.row), course.home(version.row)
    place, score = course.place(version.row), own.rerank if own else None
    if own is None:
        said = "It was not read back, so it was not scored"
    elif score is None:
        said = "It was not scored: before its turn the order was decided, or tokens or time ran out"
    else:
        said = f"It was scored {score:.3f}"
    if place:
        said += f"; in the final order it is {_ordinal(place)}"
    elif home:
        said += f"; it was folded into {home.catalogue}/{home.path}, which has nearly the same body"
    return RerankStage(
        score=score,
        scored_by=course.ranked.scored_by,
        place=place,
        twin_of=(
            Twin(id=home.skill_id, catalogue=home.catalogue, path=home.path) if home else None
        ),
        says=f"{said}.",
    )


def _decided(judged: Judged, course: Course) -> DecisionStage:
    scale = course.ranked.scale
    shares = [
        _share(name, judged.features[name], scale.weights.get(name, 0.0)) for name in FEATURES
    ]
    load = course.load if math.isfinite(course.load) else None
    return DecisionStage(
        features=shares,
        bias=scale.bias,
        logit=scale.bias + sum(share.contribution for share in shares),
        by_itself=judged.p_alone,
        p_useful=judged.p_useful,
        load=load,
        consider=scale.consider,
        calibration=scale.calibration,
        says=f"{_helps(judged, course)}; {_bars(load, scale.consider)}.",
    )


def _share(feature: str, value: float, weight: float) -> FeatureShare:
    return FeatureShare(feature=feature, value=value, weight=weight, contribution=weight * value)


def _helps(judged: Judged, course: Course) -> str:
    read_back = course.read_back(judged.scored.version.row)
    helps = "It helps" if read_back else "Read back and last in the order, it would help"
    company = f" beside those before it, {judged.p_alone:.2f} by itself"
    said = company if judged.p_useful != judged.p_alone else ""
    return f"{helps} with probability {judged.p_useful:.2f}{said}"


def _bars(load: float | None, consider: float) -> str:
    starts = "no promise is strict enough to load" if load is None else f"load starts at {load:.2f}"
    return f"{starts}, consider at {consider:.2f}"


def _offered(version: SkillVersion, course: Course) -> OfferedStage:
    reason = course.reason(version)
    return OfferedStage(
        offered=reason is None,
        reason=reason,
        says=f"Not offered: {_REASONS[reason]}." if reason else "Offered.",
    )


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
