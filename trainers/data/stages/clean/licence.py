"""Which rows may be used, as their sources say."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from cluster.config.stages.clean import LicenceStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage

CONSENTS = frozenset(("true", "yes", "y", "1", "granted", "given", "opt-in", "opted-in", "consented", "agreed"))


class Licence(RowStage[LicenceStage]):
    """Looks at the columns of licence and consent."""

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            names = self.names(record)
            if names:
                record.notes["licence"] = ", ".join(names)
            if reason := self.refusal(names, record.columns):
                record.reject(reason)
        return records

    def names(self, record: Record) -> list[str]:
        """The licences of a row, in plain form."""
        for column in self.config.columns:
            value = record.columns.get(column)
            named = value if isinstance(value, list) else [value]
            if plain := [plain_name(str(one)) for one in named if one is not None and str(one).strip()]:
                return plain
        return []

    def refusal(self, names: list[str], columns: dict[str, Any]) -> str | None:
        """Why a row may not be used, or None."""
        config = self.config
        if not names and config.missing == "reject":
            return f"no licence is named (in {' or '.join(config.columns)})"
        for name in names:
            if matches(name, config.refuse):
                return f"licence {name} is refused"
            if config.allow and not matches(name, config.allow):
                return f"licence {name} is not among those allowed"
        if config.require_consent:
            consent = columns.get(config.consent_column)
            if consent is None or plain_name(str(consent)) not in CONSENTS:
                return f"no consent ({config.consent_column} is {consent!r})"
        return None


def plain_name(name: str) -> str:
    """`CC BY-NC 4.0` as `cc-by-nc-4.0`."""
    return re.sub(r"[\s_-]+", "-", name.strip().casefold())


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a name is one of those listed; a trailing version in the name may be left out of the list."""
    bare = re.sub(r"-v?\d+(\.\d+)*(-[a-z]+)?$", "", name)
    return any(fnmatch.fnmatchcase(one, plain_name(pattern)) for pattern in patterns for one in (name, bare))
