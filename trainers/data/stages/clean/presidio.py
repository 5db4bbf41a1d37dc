"""Presidio's recognisers, called one by one: its analyzer engine would load a language model, which most do not need.

They work offline and without a model. Presidio is no need of the product all the same: it brings 250 MB of packages and
takes ten seconds to import. Its phone recogniser takes `4000/2000` for a number (49 finds in 2,000 rows of GSM8K, where
the patterns of pii.py find none, at 290 rows/s), so phones stay with the patterns.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from cluster.config.stages.clean import Presidio
from cluster.exceptions import ConfigError

SPACY_LABELS = {"PER": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "NORP": "NRP", "ORG": "ORGANIZATION"}
"""Labels of spaCy's models -> what Presidio calls them, where they differ."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A place in a text and what stands there."""

    kind: str
    start: int
    end: int


class Recognisers:
    """Those that find some of the wanted entities."""

    def __init__(self, config: Presidio, recognisers: list[Any], model: Any) -> None:
        self.config, self.recognisers, self.model = config, recognisers, model
        self.version = metadata.version("presidio-analyzer")

    def find(self, text: str) -> Iterator[Finding]:
        """What is in a text, surest first."""
        wanted = self.config.entities
        found = [one for each in self.recognisers for one in each.analyze(text, wanted, None)]
        for one in sorted(found, key=lambda one: -one.score):
            if one.score >= self.config.min_score and one.entity_type in wanted:
                yield Finding(one.entity_type.lower(), one.start, one.end)
        for name in self.model(text).ents if self.model is not None else ():
            label = SPACY_LABELS.get(name.label_, name.label_)
            if label in wanted:
                yield Finding(label.lower(), name.start_char, name.end_char)


def load_presidio(config: Presidio) -> Recognisers:
    """The recognisers that a config asks for, loaded once in a process.

    Raises:
        ConfigError: if Presidio or the model is not installed, or an entity is not known.
    """
    try:
        return _load(config.model_dump_json())
    except ImportError as error:
        raise ConfigError(
            f"pii: Presidio is not installed ({error}); `pip install presidio-analyzer`, or leave `presidio` out: the "
            "patterns work without it"
        ) from error


@functools.lru_cache(maxsize=2)
def _load(settings: str) -> Recognisers:
    config = Presidio.model_validate_json(settings)
    import tldextract.tldextract
    from presidio_analyzer import PatternRecognizer, predefined_recognizers

    # It would fetch a list of domain endings from the net; without addresses it uses the copy in its package.
    tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls = ()
    classes = [one for one in vars(predefined_recognizers).values() if isinstance(one, type)]
    recognisers: list[Any] = [
        one for one in classes if issubclass(one, PatternRecognizer) and one is not PatternRecognizer
    ]
    every = [recogniser() for recogniser in recognisers]
    model = _load_model(config.spacy_model) if config.spacy_model is not None else None
    known = {entity for one in every for entity in one.supported_entities}
    if model is not None:
        known |= {SPACY_LABELS.get(label, label) for name in model.pipe_names for label in _labels(model, name)}
    if unknown := set(config.entities) - known:
        raise ConfigError(
            f"pii: presidio.entities names {', '.join(sorted(unknown))}, which nothing finds; expected some of "
            f"{', '.join(sorted(known))}"
        )
    return Recognisers(config, [one for one in every if set(one.supported_entities) & set(config.entities)], model)


def _labels(model: Any, name: str) -> list[str]:
    return list(getattr(model.get_pipe(name), "labels", ()))


def _load_model(name: str) -> Any:
    import spacy

    try:
        return spacy.load(name)
    except OSError as error:
        raise ConfigError(
            f"pii: presidio.spacy_model={name} is not installed; `python -m spacy download {name}` installs it"
        ) from error
