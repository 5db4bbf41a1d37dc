"""Answers that are JSON: whether they keep to a schema, sets of labels, and entities in text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.metrics.classification import SCORES, macro, micro, weighted
from trainers.evaluation.metrics.common import parse_json
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums

_TAG = re.compile(r"[BIES](-.+)?")
Things = list[Counter[Hashable] | None]
"""What each row names, with how often; None where it does not say."""


def json_schema(rows: Rows, schema: Mapping[str, Any] | str) -> list[float] | None:
    """Share of answers that are JSON and keep to a schema (draft 2020-12 unless it names another).

    Args:
        schema: the schema itself, or the path of its file.
    """
    import jsonschema

    loaded = _load_schema(schema) if isinstance(schema, str) else schema
    kind = jsonschema.validators.validator_for(loaded, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(loaded)
    except jsonschema.SchemaError as error:
        raise ConfigError(f"metric json_schema: the schema is no JSON schema ({error.message}); mend it") from error
    validator = kind(loaded)
    if all(output is None for output in rows.outputs):
        return None
    return [np.nan if output is None else _keeps_to(validator, output) for output in rows.outputs]


def _load_schema(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"metric json_schema: {path} cannot be read as JSON ({error}); name the schema's file"
        ) from error


def _keeps_to(validator: Any, output: str) -> float:
    try:
        return float(validator.is_valid(json.loads(output)))
    except (ValueError, RecursionError):
        return 0.0


def multi_label(rows: Rows, field: str | None = None) -> Mapping[str, Any] | LeftOut | None:
    """Sets of labels, as scikit-learn scores them: `subset_accuracy`, `jaccard`, `f1.samples`, `f1.micro`, ...

    References and answers are JSON lists of labels. An answer that is none names no label; an empty list answered by an
    empty list is right.

    Args:
        field: where both are JSON objects, the field that holds the list.
    """
    wanted, given = _label_sets(rows.references, field), _label_sets(rows.outputs, field)
    if not rows.is_compared.any():
        return None
    compared = [want is not None and both for want, both in zip(wanted, rows.is_compared, strict=True)]
    if not any(compared):
        return LeftOut("no reference is a JSON list of labels")
    first = [want if keep else None for want, keep in zip(wanted, compared, strict=True)]
    sizes = [None if want is None else _sizes(want, got or Counter()) for want, got in zip(first, given, strict=True)]
    return {
        "subset_accuracy": [np.nan if one is None else float(one[0] == one[1]) for one in sizes],
        "jaccard": [np.nan if one is None else _share(one[0], one[1]) for one in sizes],
        "f1.samples": [np.nan if one is None else _share(2 * one[0], one[0] + one[1]) for one in sizes],
    } | found_things(first, given)


def _label_sets(texts: Sequence[str | None], field: str | None) -> Things:
    return [_label_set(parse_json(text), field) for text in texts]


def _label_set(value: Any, field: str | None) -> Counter[Hashable] | None:
    if field is not None:
        value = value.get(field) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = [value]
    return Counter({str(one) for one in value}) if isinstance(value, list) else None


def _sizes(want: Counter[Hashable], got: Counter[Hashable]) -> tuple[int, int]:
    """Labels in both and in either."""
    return len(set(want) & set(got)), len(set(want) | set(got))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def found_things(wanted: Things, given: Things, kind_of: Callable[[Any], str] = str) -> dict[str, Sums]:
    """Precision, recall and F1 (`micro`, `macro`, `weighted` over kinds) of things named in each row.

    Rows whose `wanted` is None do not count. Kinds that occur nowhere do not count in a mean over kinds.
    """
    kinds = sorted({kind_of(one) for row in (*wanted, *given) if row for one in row})
    index = {name: at for at, name in enumerate(kinds)}
    distinct: dict[Any, int] = {}
    codes = np.zeros(len(wanted), np.int64)
    lines: list[np.ndarray] = []
    for at, (want, got) in enumerate(zip(wanted, given, strict=True)):
        key = None if want is None else (frozenset(want.items()), frozenset((got or Counter()).items()))
        if key not in distinct:
            distinct[key] = len(lines)
            lines.append(_things_of_row(want, got, index, kind_of))
        codes[at] = distinct[key]
    table = np.stack(lines).reshape(len(lines), -1)
    averages = {"micro": micro, "macro": macro, "weighted": weighted}
    return {
        f"{name}.{average}": Sums(table, _of(mean, score), codes)
        for name, score in SCORES.items()
        for average, mean in averages.items()
    }


def _of(mean: Callable[..., np.ndarray], score: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: mean(score, sums.reshape(*sums.shape[:-1], 3, -1))


def _things_of_row(
    want: Counter[Hashable] | None,
    got: Counter[Hashable] | None,
    index: Mapping[str, int],
    kind_of: Callable[[Any], str],
) -> np.ndarray:
    """Hits, given and wanted things of each kind, shape (3, kinds)."""
    counts = np.zeros((3, max(len(index), 1)))
    if want is None:
        return counts
    given = got or Counter()
    for line, things in enumerate((want & given, given, want)):
        for one, number in things.items():
            counts[line, index[kind_of(one)]] += number
    return counts


def entities(rows: Rows, field: str | None = None) -> Mapping[str, Any] | LeftOut | None:
    """Named entities found in text: `precision`, `recall` and `f1`, each `micro`, `macro` and `weighted` over types.

    References and answers are JSON lists: of tags of the tokens (`["B-PER", "I-PER", "O"]`, read as seqeval's default
    mode reads them), or of objects with `type` and either `start` and `end` or `text`. `same_length` is the share of
    answers with as many tags as tokens; too few are filled up with O, too many are cut.

    Args:
        field: where both are JSON objects, the field that holds the list.

    Raises:
        DataError: for a reference that is neither.
    """
    if not rows.is_compared.any():
        return None
    read = [_read_entities(rows, at, field) for at in range(len(rows))]
    measured: dict[str, Any] = dict(
        found_things([one[0] for one in read], [one[1] for one in read], lambda entity: entity[0])
    )
    fits = [one[2] for one in read]
    return measured | ({} if np.isnan(fits).all() else {"same_length": fits})


def _read_entities(
    rows: Rows, at: int, field: str | None
) -> tuple[Counter[Hashable] | None, Counter[Hashable] | None, float]:
    """Entities of the reference and of the answer, and whether there are as many tags (nan where there are none)."""
    one = rows.predictions[at]
    if not rows.is_compared[at]:
        return None, None, np.nan
    want, got = _list_of(one.reference, field), _list_of(one.output, field)
    if want is None or not _is_entities(want):
        raise DataError(
            f"{one.place}: metric entities: found the reference {str(one.reference)[:80]!r}; expected a JSON list of "
            "tags or of objects with type and text"
        )
    if got is None or not _is_entities(got):
        got = []
    if not all(isinstance(tag, str) for tag in want):
        return _entities(want, None), _entities(got, None), np.nan
    return _entities(want, None), _entities(got, len(want)), float(len(got) == len(want))


def _list_of(text: str | None, field: str | None) -> list[Any] | None:
    value = parse_json(text)
    if field is not None:
        value = value.get(field) if isinstance(value, dict) else None
    return value if isinstance(value, list) else None


def _is_entities(value: list[Any]) -> bool:
    objects = [one for one in value if isinstance(one, dict) and "type" in one and ("text" in one or "start" in one)]
    return len(objects) == len(value) or all(isinstance(one, str) for one in value)


def _entities(value: list[Any], length: int | None) -> Counter[Hashable]:
    """(type, place or text) of each entity.

    Args:
        length: of the text in tokens, where tags are read.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    if any(isinstance(one, dict) for one in value):
        return Counter(
            (str(one["type"]), json.dumps([one.get("start"), one.get("end")] if "start" in one else str(one["text"])))
            for one in value
        )
    tags = value if length is None else [*value, *["O"] * length][:length]
    return Counter((kind, (start, end)) for kind, start, end in get_entities(_known_tags(tags)))


def _known_tags(tags: Sequence[str]) -> list[str]:
    """Tags of a model that follow no scheme count as O; seqeval would only warn of them and count them."""
    return [tag if _TAG.fullmatch(tag) else "O" for tag in tags]
