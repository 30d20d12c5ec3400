"""Lexical arm: fields, statistics, analysis and query terms, each variant a row of a table.

    python -m benchmarks.tuning.lexical --data ../shared/data
    python -m benchmarks.tuning.lexical --data ../shared/data --index .loadstar/eval-quick

Scores train and calibration rows only. The variants are scored by counts of analysed tokens,
with tantivy's BM25; `--index`, a data folder with the quick pool, adds the arm itself.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rank_bm25 import BM25Okapi
from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

from app.settings import AppSettings
from benchmarks.tuning.bm25 import Analyse, Corpus, Field, Setting, Texts, rankings
from benchmarks.tuning.rows import TuningRows, drafts, tuning_rows, verbatim
from benchmarks.tuning.tables import Cell, Rankings, Result, cells, scored, table
from core.retrieval.lexical import analyse, lexical_text
from core.text import without_exclusions
from core.types import Filters, SkillDraft
from evaluation.systems import open_bench
from evaluation.types import POOL, Place, Split

DEPTH = 200

NAME, DESCRIPTION, TRIGGERS, BODY = "name", "description", "triggers", "body"
MEANT = "meant"  # the description without what the skill is not for
UNNEGATED = "unnegated"  # the same, but "For X→other-skill" stays


def boosted(name: float, description: float, triggers: float, body: float) -> tuple[Field, ...]:
    """One field for each part, as far as it has a boost."""
    boosts = {NAME: name, DESCRIPTION: description, TRIGGERS: triggers, BODY: body}
    return tuple(Field((part,), boost) for part, boost in boosts.items() if boost)


FORMER = Setting(fields=boosted(3, 2, 1.5, 1))
OVERLAPPING = Setting(
    fields=(
        Field((NAME,)),
        Field((NAME, DESCRIPTION, TRIGGERS)),
        Field((NAME, DESCRIPTION, BODY)),
    )
)


def meant(setting: Setting, description: str = MEANT) -> Setting:
    """The setting with another description."""
    return replace(
        setting,
        fields=tuple(
            Field(tuple(description if p == DESCRIPTION else p for p in f.parts), f.boost)
            for f in setting.fields
        ),
    )


CHOSEN = meant(OVERLAPPING)


def weighted(name: float, routing: float, text: float) -> Setting:
    """The chosen fields with boosts."""
    fields = zip(CHOSEN.fields, (name, routing, text), strict=True)
    return replace(CHOSEN, fields=tuple(Field(f.parts, b) for f, b in fields if b))


def together(*parts: str, boost: float = 1.0) -> Field:
    """One field of several parts; a part that stands in it n times counts n times."""
    return Field(parts, boost)


FIELDS: Mapping[str, Setting] = {
    "former: name 3, description 2, triggers 1.5, body 1": FORMER,
    "3 / 2 / 1.5 / 0.5": Setting(fields=boosted(3, 2, 1.5, 0.5)),
    "3 / 2 / 1.5 / 2": Setting(fields=boosted(3, 2, 1.5, 2)),
    "2 / 2 / 1 / 2": Setting(fields=boosted(2, 2, 1, 2)),
    "1 / 1 / 1 / 1": Setting(fields=boosted(1, 1, 1, 1)),
    "1 / 1 / 1 / 2": Setting(fields=boosted(1, 1, 1, 2)),
    "no triggers: 1 / 1 / 0 / 1": Setting(fields=boosted(1, 1, 0, 1)),
    "no body: 3 / 2 / 1.5 / 0": Setting(fields=boosted(3, 2, 1.5, 0)),
    "BM25F, 3 / 2 / 1.5 / 1": replace(FORMER, merged=True),
    "BM25F, 10 / 5 / 3 / 1": Setting(fields=boosted(10, 5, 3, 1), merged=True),
    "one field": Setting(fields=(together(NAME, DESCRIPTION, TRIGGERS, BODY),)),
    "one field, name thrice, description and triggers twice": Setting(
        fields=(together(NAME, NAME, NAME, *(DESCRIPTION, TRIGGERS) * 2, BODY),)
    ),
    "routing + text": Setting(fields=OVERLAPPING.fields[1:]),
    "name + routing + text": OVERLAPPING,
    "the same, triggers in text too": Setting(
        fields=(*OVERLAPPING.fields[:2], together(NAME, DESCRIPTION, TRIGGERS, BODY))
    ),
    "the same, no triggers": Setting(
        fields=(together(NAME), together(NAME, DESCRIPTION), together(NAME, DESCRIPTION, BODY))
    ),
    "chosen: name + routing + text, without exclusions": CHOSEN,
    "only NOT statements cut": meant(OVERLAPPING, UNNEGATED),
    "exclusions cut, routing + text": Setting(fields=CHOSEN.fields[1:]),
    "exclusions cut, 1 / 1 / 1 / 1": meant(Setting(fields=boosted(1, 1, 1, 1))),
    "chosen, boosts 0.5 / 0.5 / 1": weighted(0.5, 0.5, 1),
    "chosen, boosts 0.75 / 1 / 1": weighted(0.75, 1, 1),
    "chosen, boosts 1.5 / 1 / 1": weighted(1.5, 1, 1),
    "chosen, boosts 1 / 1.5 / 1": weighted(1, 1.5, 1),
}

STATISTICS: Mapping[str, Setting] = {
    "chosen": CHOSEN,
    "idf of the visible catalogue": replace(CHOSEN, visible=True),
    "former fields, idf of the visible catalogue": replace(FORMER, visible=True),
    "idf of any field": replace(CHOSEN, shared_idf=True),
    "idf to the power 0.7": replace(CHOSEN, idf_power=0.7),
    "idf to the power 1.5": replace(CHOSEN, idf_power=1.5),
    "k1 0.6": replace(CHOSEN, k1=0.6),
    "k1 2": replace(CHOSEN, k1=2.0),
    "b 0.4": replace(CHOSEN, b=0.4),
    "b 1": replace(CHOSEN, b=1.0),
}

TERMS: Mapping[str, Setting] = {
    "chosen: 48 rarest words, each once": CHOSEN,
    "8 words": replace(CHOSEN, max_terms=8),
    "16 words": replace(CHOSEN, max_terms=16),
    "32 words": replace(CHOSEN, max_terms=32),
    "every word": replace(CHOSEN, max_terms=10_000),
    "repeated words by their count": replace(CHOSEN, repeats=1.0),
    "by the root of their count": replace(CHOSEN, repeats=0.5),
    "words in over half of the visible skills dropped": replace(CHOSEN, common=0.5),
    "in over 0.9 of them": replace(CHOSEN, common=0.9),
}


def analyses() -> Mapping[str, Analyse]:
    """Ways to make tokens of a text."""
    steps = [Filter.remove_long(40), Filter.lowercase(), Filter.ascii_fold()]
    stop, stem = Filter.stopword("english"), Filter.stemmer("english")

    def analyser(*filters: Filter) -> Analyse:
        builder = TextAnalyzerBuilder(Tokenizer.simple())
        for each in filters:
            builder = builder.filter(each)
        built = builder.build()
        return lambda text: built.analyze(text)

    raw = analyser(*steps, stop, stem)
    no_stemmer, no_stop_words = analyser(*steps, stop), analyser(*steps, stem)
    return {
        "chosen: stemmed, no stop words, CJK bigrams": analyse,
        "not stemmed": lambda text: no_stemmer(lexical_text(text)),
        "stop words kept": lambda text: no_stop_words(lexical_text(text)),
        "camelCase split": lambda text: analyse(_CAMEL.sub(" ", text)),
        "camelCase split, the whole kept": lambda text: analyse(_split_beside(text)),
        "compounds joined beside their parts": lambda text: analyse(_joined_beside(text)),
        "CJK characters and bigrams": lambda text: raw(_characters(text, bigrams=True)),
        "CJK characters": lambda text: raw(_characters(text, bigrams=False)),
        "CJK runs whole": raw,
    }


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"\b[A-Za-z0-9]{4,40}\b")
_COMPOUND = re.compile(r"\b[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+){1,3}\b")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7ff]+")


def _split_beside(text: str) -> str:
    def beside(found: re.Match[str]) -> str:
        parts = _CAMEL.sub(" ", found[0])
        return found[0] if parts == found[0] else f"{found[0]} {parts}"

    return _WORD.sub(beside, text)


def _joined_beside(text: str) -> str:
    return _COMPOUND.sub(lambda found: f"{found[0]} {re.sub('[-_.]', '', found[0])}", text)


def _characters(text: str, *, bigrams: bool) -> str:
    def parted(found: re.Match[str]) -> str:
        run = found[0]
        pairs = [run[i : i + 2] for i in range(len(run) - 1)] if bigrams else []
        return f" {' '.join([*run, *pairs])} "

    return _CJK.sub(parted, unicodedata.normalize("NFKC", text))


def texts_of(draft: SkillDraft) -> Texts:
    """The parts of a skill that fields are made of."""
    unnegated = without_exclusions(draft.description.replace("→", " "))
    return {
        NAME: draft.name,
        DESCRIPTION: draft.description,
        TRIGGERS: "\n".join(draft.triggers),
        BODY: draft.body,
        MEANT: without_exclusions(draft.description),
        UNNEGATED: unnegated,
    }


def rank_bm25(rows: TuningRows, skills: Mapping[Place, Texts]) -> dict[Cell, Rankings]:
    """The reference: plain rank-bm25 over name, description and body of each catalogue."""
    found: dict[Cell, Rankings] = {}
    for (source, scope), queries in cells(rows).items():
        if scope == POOL:
            continue
        places = [place for place in skills if place.startswith(f"{scope}/")]
        texts = [skills[p] for p in places]
        held = [_plain(f"{t[NAME]} {t[DESCRIPTION]} {t[BODY]}") for t in texts]
        reference = BM25Okapi(held)
        found[source, scope] = {
            query.qid: [places[i] for i in (-reference.get_scores(_plain(query.text))).argsort()]
            for query in queries
        }
    return found


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


async def of_the_arm(rows: TuningRows, index: Path) -> dict[Cell, Rankings]:
    """What the lexical arm itself finds over an index of the pool."""
    async with open_bench(AppSettings(data_dir=index)) as bench:
        view, arm = bench.parts.follower.snapshot.view, bench.parts.follower.snapshot.lexical
        found: dict[Cell, Rankings] = {}
        for cell, queries in cells(rows).items():
            filters = Filters() if cell[1] == POOL else Filters(catalogues=(cell[1],))
            found[cell] = {
                query.qid: [
                    bench.places[hit.row]
                    for hit in arm.search(view, query.text, filters, DEPTH).hits
                ]
                for query in queries
            }
        return found


def results(rows: TuningRows, corpus: Corpus, settings: Mapping[str, Setting]) -> Iterator[Result]:
    """Each setting scored."""
    for label, setting in settings.items():
        yield scored(rows, label, rankings(rows, corpus, setting))


def main() -> None:
    """Parse the command line, score every variant, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with skills.jsonl.xz")
    parser.add_argument("--index", type=Path, help="data folder with the quick pool, for the arm")
    arguments = parser.parse_args()
    rows = tuning_rows(arguments.data)
    skills = {place: texts_of(draft) for place, draft in drafts(arguments.data, rows.pool)}
    corpus = Corpus(skills, rows.queries, analyse)

    found = list(results(rows, corpus, FIELDS))
    former, chosen = found[0], next(each for each in found if each.label.startswith("chosen:"))
    compared = [scored(rows, "rank-bm25, full text", rank_bm25(rows, skills)), former, chosen]
    if arguments.index:
        arm = asyncio.run(of_the_arm(rows, arguments.index))
        compared.append(scored(rows, "the arm itself", arm))
    show("Fields", rows, found, former)
    show("Statistics", rows, list(results(rows, corpus, STATISTICS)), chosen)
    show("Terms", rows, list(results(rows, corpus, TERMS)), chosen)
    ways = list(analysed(rows, skills))
    cjk = {query.qid for query in rows.queries if query.language in ("zh", "ja", "ko")}
    show("Analysis", rows, ways, chosen)
    show(f"Analysis, the {len(cjk)} Chinese, Japanese and Korean tasks", rows, ways, ways[0], cjk)
    for split in (Split.TRAIN, Split.CALIBRATION):
        qids = {query.qid for query in rows.queries if query.split is split}
        show(f"Chosen, {split.value} rows", rows, compared, former, qids)
    naming = rows.naming()
    named = list(results(naming, corpus, {"former": FORMER, "chosen": CHOSEN}))
    show("Chosen, tasks that name their skill", naming, named, named[0])
    stated = {place: f"{of[DESCRIPTION]}\n{of[TRIGGERS]}" for place, of in skills.items()}
    apart = {query.qid for query in rows.queries} - verbatim(rows, stated)
    show("Chosen, tasks that their skill states verbatim left out", rows, compared, former, apart)


def analysed(rows: TuningRows, skills: Mapping[Place, Texts]) -> Iterator[Result]:
    """The chosen fields under every analysis."""
    needed = (NAME, MEANT, TRIGGERS, BODY)
    parts = {place: {part: texts[part] for part in needed} for place, texts in skills.items()}
    for label, way in analyses().items():
        yield from results(rows, Corpus(parts, rows.queries, way), {label: CHOSEN})


def show(
    title: str,
    rows: TuningRows,
    found: Sequence[Result],
    against: Result,
    qids: Iterable[str] | None = None,
) -> None:
    """Print one table."""
    counted = None if qids is None else set(qids)
    print(f"\n## {title}\n\n{table(rows, found, against, counted)}", flush=True)


if __name__ == "__main__":
    main()
