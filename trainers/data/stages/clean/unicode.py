"""Characters as they were meant: mojibake undone, look-alikes from other scripts replaced, one way to write a letter.

ftfy undoes mojibake; which letters look alike is Unicode's list as confusable-homoglyphs packs it. Most rows are plain
ASCII, in which there is nothing to repair.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from importlib import metadata, resources
from typing import Any

from cluster.config.stages.clean import UnicodeStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext

SCRIPTS = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
"""Scripts whose letters pass for Latin ones, as the names of their letters begin."""
_GREEK_OF_FORMULAS = "αγικνρσυϲϳ"
"""Greek letters that stand beside Latin ones on purpose, as in `cosα`."""
_NOT_MOJIBAKE = (
    "unescape_html",
    "remove_terminal_escapes",
    "fix_latin_ligatures",
    "fix_character_width",
    "uncurl_quotes",
    "fix_line_breaks",
    "remove_control_chars",
)
"""What ftfy would change as well."""
_WORD = re.compile(r"[^\W\d_]{3,}")


class Unicode(RowStage[UnicodeStage]):
    """Repairs texts that are not plain ASCII."""

    def __init__(self, config: UnicodeStage, context: StageContext) -> None:
        super().__init__(config, context)
        import ftfy

        self.ftfy = ftfy
        self.mojibake = ftfy.TextFixerConfig(normalization=None, explain=False, **dict.fromkeys(_NOT_MOJIBAKE, False))

    @classmethod
    def inputs(cls, config: UnicodeStage) -> Any:
        del config
        return [metadata.version(name) for name in ("ftfy", "confusable-homoglyphs")]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            record.map_texts(self.repair, self.config.roles)
        return records

    def repair(self, text: str) -> str:
        """The text as it was meant."""
        if text.isascii():
            return text
        if self.config.mojibake:
            text = self.ftfy.fix_text(text, self.mojibake)
        if self.config.form is not None:
            text = unicodedata.normalize(self.config.form, text)
        return _WORD.sub(lambda match: unmix(match[0]), text) if self.config.look_alikes else text


def unmix(word: str) -> str:
    """A word of two scripts in the one that most of its letters have, if look-alikes are all that stand in the way."""
    if word.isascii():
        return word
    others = {script for letter in word if (script := script_of(letter)) != "LATIN"}
    if len(others) != 1 or not any(letter.isascii() for letter in word):
        return word
    [script] = others
    tables = [to_latin(), from_latin(script)]
    if sum(letter.isascii() for letter in word) * 2 < len(word):
        tables.reverse()
    for table in tables:
        changed = word.translate(table)
        if len({script_of(letter) for letter in changed}) == 1:
            return changed
    return word


@functools.lru_cache(maxsize=4096)
def script_of(letter: str) -> str:
    """LATIN, CYRILLIC, ...: the first word of the letter's name."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


@functools.cache
def to_latin() -> dict[int, str]:
    """Letters of other scripts -> the Latin letters that they pass for."""
    import json

    listed = json.loads(resources.files("confusable_homoglyphs").joinpath("confusables.json").read_text("utf-8"))
    found: dict[int, str] = {}
    for letter, alike in listed.items():
        if len(letter) != 1 or letter in _GREEK_OF_FORMULAS or script_of(letter) not in SCRIPTS:
            continue
        latin = [one["c"] for one in alike if len(one["c"]) == 1 and one["c"].isascii() and one["c"].isalpha()]
        if latin:  # the list gives l for every upright stroke, capital I included
            found[ord(letter)] = "I" if latin[0] == "l" and letter.isupper() else latin[0]
    return found


@functools.cache
def from_latin(script: str) -> dict[int, str]:
    """Latin letters -> the usual letters of a script that they pass for."""
    usual = {"CYRILLIC": range(0x0410, 0x0450), "GREEK": range(0x0391, 0x03CA)}.get(script, range(0))
    return {ord(latin): chr(code) for code, latin in to_latin().items() if code in usual}
