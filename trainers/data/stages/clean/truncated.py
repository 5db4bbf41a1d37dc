"""Answers that break off. A model that learns from them learns to stop anywhere."""

from __future__ import annotations

import re

from cluster.config.stages.clean import TruncatedStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage
from trainers.data.stages.clean.fences import ends_in_code, without_code

CLOSERS = {"(": ")", "[": "]", "{": "}"}
_DANGLING = """
and or nor but because although though whereas unless until while if whether than that which who whose the a an of to from
with without into onto upon towards between among via per such is are was were be been has have had will would could should
may might must my your his her its our their every these those
und oder aber weil obwohl dass wenn ob sondern der die das den dem des ein eine einen einem einer eines von zu mit ohne für
et ou mais parce que de du des le la les un une avec sans pour dans
y o pero porque los las con para por
"""
DANGLING = frozenset(_DANGLING.split())
"""English, German, French and Spanish words after which something must follow."""
_SMILEY = re.compile(r"[:;=]-?[(\[{]")
_HASHTAG = re.compile(r"#\w+[\"']?\Z")
_LIST_ITEM = re.compile(r"\s*([-*+•>#|]|\d+[.)]|[a-zA-Z][.)])\s")
_LAST_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?\Z")
_FINAL = (".", "!", "?", "…", "。")
_SHORT_LINE = 60
"""A last line of so few characters may be a title, a name, a line of a poem or an address."""


class Truncated(RowStage[TruncatedStage]):
    """Judges each answer by how it ends."""

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            found = (self.find(text) for text in record.texts(self.config.roles))
            sign = next((one for one in found if one is not None), None)
            if sign is None:
                continue
            if self.config.action == "reject":
                record.reject(sign)
            else:
                record.notes["truncated"] = sign
        return records

    def find(self, text: str) -> str | None:
        """The sign that a text breaks off, if there is one."""
        text = text.rstrip()
        if ends_in_code(text):
            return f"a code fence is open ({_tail(text)})" if "fence" in self.config.checks else None
        if not text or _ends_well(text):
            return None
        paragraph = without_code(text).rsplit("\n\n", 1)[-1]
        signs = {
            "last_word": ("it ends where more must follow", _dangles(text)),
            "bracket": ("a bracket is open", _has_open_bracket(paragraph)),
            "quotation": ("a quotation is open", _has_open_quotation(paragraph)),
            "ending": ("a long text ends without a punctuation mark", self._stops_short(text)),
        }
        found = (sign for check, (sign, is_there) in signs.items() if is_there and check in self.config.checks)
        sign = next(found, None)
        return sign and f"{sign} ({_tail(text)})"

    def _stops_short(self, text: str) -> bool:
        """Prose ends on a mark; the last line of a list, a table, a poem, a letter or of indented code need not."""
        line = text.rsplit("\n", 1)[-1]
        if (
            _LIST_ITEM.match(line)
            or _HASHTAG.search(line)
            or line.startswith(("    ", "\t"))
            or (len(line) < _SHORT_LINE and "\n" in text)
        ):
            return False
        return len(text) >= self.config.min_characters


def _tail(text: str) -> str:
    return "..." + text[-40:].replace("\n", " ")


def _ends_well(text: str) -> bool:
    """On anything but a letter or a mark after which more must come."""
    return not (text[-1].isalpha() or text[-1] in ",:;-–—([{'\"\\") or text[-2:-1] in _FINAL


def _dangles(text: str) -> bool:
    """On a comma, an opening mark or such a word. In a short text it may be the very answer."""
    word = _LAST_WORD.search(text)
    return len(text) > _SHORT_LINE and (text[-1] in ",([{–—" or (word is not None and word[0] in DANGLING))


def _has_open_bracket(paragraph: str) -> bool:
    paragraph = _SMILEY.sub("", paragraph)
    return any(paragraph.count(opener) > paragraph.count(closer) for opener, closer in CLOSERS.items())


def _has_open_quotation(paragraph: str) -> bool:
    return paragraph.count('"') % 2 == 1 or paragraph.count("“") > paragraph.count("”")
