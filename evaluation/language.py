"""Language of a task, for breakdowns: what langid is sure of, and English otherwise."""

from __future__ import annotations

import functools
from typing import Any

from py3langid import langid

# Few, because a handful of English words looks like any of 97 languages.
LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "tr", "zh")
SURE = 0.9


def language_of(text: str) -> str:
    """ISO 639-1 code of a task's language; `en` where that is not sure."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else "en"


@functools.cache
def _identifier() -> Any:
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier
