"""Answers that something else gave, from a file, beside the references of another: any metric can then be taken of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cluster.exceptions import DataError
from trainers.data.stages.augment.tables import read_table
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows


def joined(
    predictions: str, references: str, *, output: str = "output", reference: str = "reference", key: str | None = None
) -> Rows:
    """Rows of two files, joined by a column of both, else in order.

    Args:
        predictions: file with the column `output`.
        references: file with the column `reference`; its other columns come along.
        key: column that says which rows belong together.

    Raises:
        DataError: for files of different length, a missing column, or keys that occur twice or in one file only.
    """
    keys = () if key is None else (key,)
    wanted, given = read_table(references, reference, *keys), read_table(predictions, *keys)
    if key is not None:
        given = _in_order_of(wanted, given, key, (references, predictions))
    elif len(given) != len(wanted):
        raise DataError(
            f"{predictions} has {len(given)} rows and {references} has {len(wanted)}; expected one prediction for each "
            "reference: mend the files, or name a column of both to join them by"
        )
    return Rows(
        [
            Prediction(
                place=f"{references}: row {at}",
                reference=_text(want[reference]),
                output=_text(_output(got, output, f"{predictions}: row {at}")),
                key=f"{want[key]}" if key is not None else f"{at}",
                columns={name: value for name, value in want.items() if name != reference},
            )
            for at, (want, got) in enumerate(zip(wanted, given, strict=True), 1)
        ]
    )


def _in_order_of(
    wanted: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]], key: str, names: tuple[str, str]
) -> list[dict[str, Any]]:
    for rows, name in zip((wanted, given), names, strict=True):
        (value, times), *_ = Counter(str(row[key]) for row in rows).most_common(1)
        if times > 1:
            raise DataError(f"{name}: found {key} {value!r} {times} times; expected each once")
    by_key = {str(row[key]): row for row in given}
    known = {str(row[key]) for row in wanted}
    for missing, there, name in ((known - set(by_key), *names), (set(by_key) - known, *names[::-1])):
        if missing:
            raise DataError(f"{name}: lacks {key} {min(missing)!r} ({len(missing)} in all), which {there} has; mend it")
    return [by_key[str(row[key])] for row in wanted]


def _output(row: dict[str, Any], name: str, place: str) -> Any:
    if name not in row:
        raise DataError(f"{place}: found {', '.join(row)}; expected a row with {name}")
    return row[name]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
