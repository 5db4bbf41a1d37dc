"""Texts as bags of words like them."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

from cluster.config.stages.clean import NormaliseStage
from cluster.exceptions import ConfigError
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext

_PUNCTUATION = re.compile(r"(?<=\w)['’](?=\w)|[^\w\s]|_")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


class Normalise(RowStage[NormaliseStage]):
    """Applies what is switched on, in this order: lower case, stop words, punctuation, stems."""

    def __init__(self, config: NormaliseStage, context: StageContext) -> None:
        super().__init__(config, context)
        if not context.classification and not config.force:
            raise ConfigError(
                "normalise: these rows teach a model to write, and it would learn to write without capitals, commas or "
                "endings; drop the stage, or set force: true"
            )
        self.stop_words = packaged_stop_words(config.language) - set(config.keep) if config.stop_words else frozenset()
        self.stem = stemmer(config.language) if config.stem else None

    @classmethod
    def inputs(cls, config: NormaliseStage) -> Any:
        """Versions of the lists; asked for before anything runs, so that an unknown language is refused early."""
        if config.stop_words:
            packaged_stop_words(config.language)
        if config.stem:
            stemmer(config.language)
        return [metadata.version(name) for name in ("snowballstemmer", "stop-words")]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            record.map_texts(self.normalise, self.config.roles)
            if not record.text(self.config.roles).strip():
                record.reject("nothing is left after normalising")
        return records

    def normalise(self, text: str) -> str:
        """The text in its plainer form; only what is switched on changes."""
        if self.config.lower_case:
            text = text.lower()
        if self.stop_words:
            text = _WORD.sub(lambda match: "" if match[0].lower() in self.stop_words else match[0], text)
        if self.config.punctuation:
            text = _PUNCTUATION.sub(lambda match: "" if match[0] in "'’" else " ", text)
        if self.stem is not None:
            stem = self.stem
            text = re.sub(r"\w+", lambda match: stem(match[0].lower()), text)
        return re.sub(r"[ \t]{2,}", " ", text).strip() if self.stop_words or self.config.punctuation else text


def packaged_stop_words(language: str) -> frozenset[str]:
    """Stop words of a language.

    Raises:
        ConfigError: if there is no list.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    if language == "english":  # of the 1,333 in stop-words many matter: order, help, computer
        return ENGLISH_STOP_WORDS
    if language not in AVAILABLE_LANGUAGES:
        raise _unknown(language, "stop words", AVAILABLE_LANGUAGES)
    return frozenset(get_stop_words(language))


def stemmer(language: str) -> Callable[[str], str]:
    """Snowball's stemmer of a language.

    Raises:
        ConfigError: if there is none.
    """
    import snowballstemmer

    if language not in snowballstemmer.algorithms():
        raise _unknown(language, "stems", snowballstemmer.algorithms())
    return snowballstemmer.stemmer(language).stemWord


def _unknown(language: str, what: str, known: list[str]) -> ConfigError:
    return ConfigError(f"normalise: no {what} of the language {language}, expected one of {', '.join(sorted(known))}")
