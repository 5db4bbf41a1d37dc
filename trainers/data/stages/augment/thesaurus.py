"""Where synonyms come from: a table, the database files of WordNet, or a model's table of token embeddings."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.exceptions import ConfigError, DataError
from trainers.data.stages.augment.tables import listed, read_table

Thesaurus = Callable[[str], list[str]]
"""A word in lower case -> others in its place; none if it is unknown."""

_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[a-z]{3,}")
_MARKER = re.compile(r"\((?:a|p|ip)\)$")


class Table:
    """A file with the columns `word` and `synonyms`."""

    def __init__(self, spec: str) -> None:
        rows = read_table(spec, "word", "synonyms")
        self._synonyms = {str(row["word"]).lower(): listed(row["synonyms"]) for row in rows}

    def __call__(self, word: str) -> list[str]:
        return self._synonyms.get(word, [])


class WordNet:
    """The database files of WordNet (format: wndb(5WN)).

    An index file names for each word its senses, most frequent first, as byte offsets into the data file; the index is
    held in memory (155,000 words, some 30 MB), senses are read when asked for.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._senses: dict[str, list[tuple[str, int]]] = {}
        for part in _PARTS_OF_SPEECH:
            if (self._folder / f"index.{part}").exists():
                self._read_index(part)
        if not self._senses:
            raise DataError(f"{folder}: found no index.noun or the like; expected the database files of WordNet")

    def _read_index(self, part: str) -> None:
        for line in (self._folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            lemma, _, num_senses, *rest = line.split()
            offset = rest[-int(num_senses)]
            self._senses.setdefault(lemma, []).append((part, int(offset)))

    @functools.lru_cache(maxsize=65536)  # noqa: B019  one for each process, as long as the stage
    def __call__(self, word: str) -> list[str]:
        found = [lemma for part, offset in self._senses.get(word, ()) for lemma in self._lemmas(part, offset)]
        return [lemma for lemma in dict.fromkeys(found) if lemma.lower() != word]

    def _lemmas(self, part: str, offset: int) -> list[str]:
        with (self._folder / f"data.{part}").open("rb") as file:
            file.seek(offset)
            fields = file.readline().decode().split()
        if not fields or int(fields[0]) != offset:
            raise DataError(f"{self._folder}/data.{part}: holds no sense at byte {offset}; it is not of its index file")
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        return [_MARKER.sub("", word).replace("_", " ") for word in words]


class Neighbours:
    """Words near to a word in a model's table of token embeddings, less its own inflections.

    Only words that are one token have a place there. The table is read without the rest of the model.
    """

    def __init__(self, model: str, count: int, min_similarity: float) -> None:
        import numpy as np
        from transformers import AutoTokenizer

        self._count, self._least = count, min_similarity
        folder = local_folder(model)
        ids = _whole_words(AutoTokenizer.from_pretrained(folder).get_vocab())
        table = _embeddings(folder)[list(ids.values())]
        table -= table.mean(0)
        self._table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
        self._words = list(ids)
        self._place = {word: number for number, word in enumerate(self._words)}

    @functools.lru_cache(maxsize=65536)  # noqa: B019  one for each process, as long as the stage
    def __call__(self, word: str) -> list[str]:
        if word not in self._place:
            return []
        similar = self._table @ self._table[self._place[word]]
        near = (similar >= self._least).nonzero()[0]
        found = [self._words[one] for one in near[similar[near].argsort()[::-1]]]
        return [other for other in found if not _share_stem(word, other)][: self._count]


def local_folder(model: str) -> str:
    """The folder of a model; one on the Hub is fetched."""
    from huggingface_hub import snapshot_download

    from trainers.models import resolve_model

    path = resolve_model(model)
    if Path(path).is_dir():
        return path
    try:
        return snapshot_download(path, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"])
    except Exception as error:  # whatever the Hub's client raises, offline or not found, is the same answer
        raise ConfigError(
            f"model={model}: no such folder is here, and it could not be fetched from the Hub ({type(error).__name__}); "
            "name a folder, pkg:// or Hub id"
        ) from error


def _whole_words(vocabulary: dict[str, int]) -> dict[str, int]:
    """Words of three letters or more that are a token, whatever way the tokenizer marks where a word begins."""
    marked = {token: number for token, number in vocabulary.items() if token[:1] in "Ġ▁"}
    if marked:
        vocabulary = {token[1:]: number for token, number in marked.items()}
    return {token: number for token, number in sorted(vocabulary.items()) if _WORD.fullmatch(token)}


def _embeddings(folder: str) -> Any:
    """The input embeddings in float32, as a numpy array."""
    from safetensors import safe_open

    names = re.compile(r"(word_embeddings|embed_tokens|wte|shared|tok_embeddings)\.weight$")
    files = sorted(Path(folder).glob("*.safetensors"))
    for path in files:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  not a dict
                if names.search(name):
                    return file.get_tensor(name).float().numpy()
    raise ConfigError(
        f"model={folder}: found no token embeddings in {len(files)} safetensors files; name another encoder"
    )


def _share_stem(word: str, other: str) -> bool:
    """Whether two words look like forms of one: they begin alike but for a short ending."""
    common = min(len(word), len(other))
    return word[: max(common - 2, 3)] == other[: max(common - 2, 3)]


def open_thesaurus(thesaurus: str | None, model: str | None, count: int, min_similarity: float) -> Thesaurus:
    """The source that the settings name."""
    if model is not None:
        return Neighbours(model, count, min_similarity)
    assert thesaurus is not None
    return WordNet(thesaurus) if Path(thesaurus).is_dir() else Table(thesaurus)


__all__ = ["Neighbours", "Table", "Thesaurus", "WordNet", "local_folder", "open_thesaurus"]
