"""Personal data and secrets, found and masked.

Patterns find what has a shape, and check digits where there are any. Presidio, which knows more kinds, is in
presidio.py and used when asked for.
"""

from __future__ import annotations

import collections
import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from cluster.config.stages.clean import PiiStage
from trainers.data.record import Record, to_json
from trainers.data.stages.base import RowStage, StageContext
from trainers.data.stages.clean.presidio import Finding, load_presidio


def _always(_: str) -> bool:
    return True


CARDS = re.compile(
    r"4(\d{12}|\d{15}|\d{18})|(5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"3(0[0-5]|[68]\d)\d{11}|(6011|65\d\d|64[4-9]\d|35(2[89]|[3-8]\d))\d{12}|62\d{14,17}"
)
"""How the numbers of Visa, Mastercard, American Express, Diners Club, Discover, JCB and UnionPay begin, and their lengths."""


def is_card_number(number: str) -> bool:
    """A number as card schemes give them, with the check digit right by Luhn's rule."""
    plain = re.sub(r"\D", "", number)
    if not CARDS.fullmatch(plain):
        return False
    digits = [int(digit) for digit in plain]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def has_iban_checksum(iban: str) -> bool:
    """ISO 13616: the rearranged number leaves 1 when divided by 97."""
    plain = re.sub(r"\W", "", iban).upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_phone_number(number: str) -> bool:
    """As many digits as phone numbers have; dates and numbers with separators of thousands are none."""
    digits = sum(letter.isdigit() for letter in number)
    return 8 <= digits <= 15 and not re.fullmatch(r"(19|20)\d\d[-/. ]\d\d[-/. ]\d\d.*|\d{1,3}([ .]\d{3})+", number)


def is_address(address: str) -> bool:
    """An IP address that may be somebody's: not `127.0.0.1`, not `1.2.0.4`, which is a version, not `a::b`, which is C++."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6:
        return address.count(":") >= 3 and not parsed.is_loopback
    return not parsed.is_loopback and int(address.partition(".")[0]) > 1


PATTERNS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "url_credentials": (r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@[^\s\"'<>]+", _always),
    "api_key": (
        r"\b(?:sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|AKIA[0-9A-Z]{16}|"
        r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}|"
        r"xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|"
        r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
        r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)",
        _always,
    ),
    "email": (r"(?<![\w.+%-])[\w][\w.+%-]{0,63}@(?:[\w](?:[\w-]{0,61}[\w])?\.)+[^\W\d_]{2,24}\b", _always),
    "iban": (r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b", has_iban_checksum),
    "credit_card": (r"(?<![\w.-])\d{4}(?:[ -]?\d){9,15}(?![\w-]|\.\d)", is_card_number),
    "us_ssn": (r"(?<![\w-])(?!000|666|9\d\d)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])", _always),
    "ip_address": (
        r"(?<![\w.:/-])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)",
        is_address,
    ),
    "phone": (
        r"(?<![\w.+=/*$€£-])(?<!\d )(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"
        r"|\(\d{2,5}\)[ .-]?\d{3,4}[ .-]\d{3,5}|(?:1[-. ])?[2-9]\d{2}([-. ])[2-9]\d{2}\1\d{4}"
        r"|0\d{2,4}[ /-]\d{3,4}(?:[ -]?\d{2,5}){1,2})(?![\w=/*-]|[.,]\d)",
        is_phone_number,
    ),
}
"""Kind -> pattern, and what else must hold of a match. Of finds that overlap the earlier kind counts."""


class Pii(RowStage[PiiStage]):
    """Masks, rejects or notes what it finds in the texts and the columns of a row."""

    def __init__(self, config: PiiStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.patterns = {
            kind: (re.compile(pattern, re.IGNORECASE if kind == "url_credentials" else 0), holds)
            for kind, (pattern, holds) in PATTERNS.items()
            if kind in config.kinds
        }
        self.presidio = load_presidio(config.presidio) if config.presidio is not None else None
        self.key = str(context.seed).encode()

    @classmethod
    def inputs(cls, config: PiiStage) -> Any:
        """The version of Presidio; asked for before anything runs, so that a missing one is told early."""
        return load_presidio(config.presidio).version if config.presidio is not None else None

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            texts = [*record.texts(self.config.roles), *(texts_in(record.columns) if self.config.columns else ())]
            counts = collections.Counter(finding.kind for text in texts for finding in self.find(text))
            if not counts:
                continue
            record.notes["pii"] = dict(counts)
            if self.config.action != "note":
                self._mask_record(record)
            if self.config.action == "reject":
                told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
                record.reject(f"personal data or secrets ({told})")
        return records

    def _mask_record(self, record: Record) -> None:
        """Mask the row, and what is kept of it as it was before: nothing that was found may survive there."""
        record.map_texts(self.mask, self.config.roles)
        before = json.loads(record.before) if record.before is not None else record.row
        record.before = to_json(change_texts(before, self.mask))
        if self.config.columns:
            record.columns = change_texts(record.columns, self.mask)

    def mask(self, text: str) -> str:
        """The text with a mask for each find."""
        pieces, at = [], 0
        for finding in self.find(text):
            pieces += [text[at : finding.start], self._mask_of(finding.kind, text[finding.start : finding.end])]
            at = finding.end
        return "".join([*pieces, text[at:]])

    def find(self, text: str) -> list[Finding]:
        """What is in a text, in order, nothing twice."""
        found: list[Finding] = []
        for finding in self._find_all(text):
            if all(finding.end <= other.start or finding.start >= other.end for other in found):
                found.append(finding)
        return sorted(found, key=lambda finding: finding.start)

    def _find_all(self, text: str) -> Iterator[Finding]:
        for kind, (pattern, holds) in self.patterns.items():
            for match in pattern.finditer(text):
                if holds(match[0]):
                    yield Finding(kind, match.start(), match.end())
        if self.presidio is not None:
            yield from self.presidio.find(text)

    def _mask_of(self, kind: str, value: str) -> str:
        if self.config.mask == "kind":
            return f"<{kind.upper()}>"
        same = re.sub(r"[\s()-]", "", value).casefold().encode()
        return f"<{kind.upper()}_{hashlib.blake2b(same, digest_size=4, key=self.key).hexdigest()}>"


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A nested value with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [change_texts(inner, change) for inner in value]
    if isinstance(value, dict):
        return {key: change_texts(inner, change) for key, inner in value.items()}
    return value
