"""Ratings by people, read from a file and noted of the rows they are about."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.config.judge import RatingsConfig
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.evaluation.result import Prediction

OUTPUT = "output"
"""Column of a ratings file with the answer that was rated, if it has one."""
STALE = "human_ratings_stale"
_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class Rating:
    """What one person said of one answer.

    Attributes:
        place: file and line.
        row: what names the row.
        output: the answer that was rated; None where the file does not say.
    """

    place: str
    row: str
    rater: str
    value: float
    output: str | None = None


def annotate_ratings(predictions: Sequence[Prediction], config: RatingsConfig) -> list[dict[str, Any]]:
    """Notes of each row: `human_rating` (mean), `human_median` (the lower one) and `human_ratings` by rater.

    A rating whose file says which answer was rated counts only if the row has that answer still; others are counted as
    `human_ratings_stale`.

    Raises:
        DataError: for a file that cannot be read, a row that was not scored or is named ambiguously, a rating that is no
            number or off the scale, or two by the same person.
    """
    rows = _rows_by(predictions, config)
    given: list[dict[str, float]] = [{} for _ in predictions]
    stale = [0] * len(predictions)
    for rating in read_ratings(config):
        for index in _rated(rating, rows, predictions, config):
            if rating.output is not None and rating.output != predictions[index].output:
                stale[index] += 1
            elif rating.rater in given[index]:
                raise DataError(
                    f"{rating.place}: {rating.rater} rates the row {rating.row[:_SHOWN]!r} a second time; expected one rating by each rater"
                )
            else:
                given[index][rating.rater] = rating.value
    return [_notes(values, count) for values, count in zip(given, stale, strict=True)]


def _notes(values: Mapping[str, float], stale: int) -> dict[str, Any]:
    notes: dict[str, Any] = {STALE: stale} if stale else {}
    if values:
        notes["human_rating"] = statistics.fmean(values.values())
        notes["human_median"] = statistics.median_low(values.values())
        notes["human_ratings"] = dict(values)
    return notes


def _rows_by(predictions: Sequence[Prediction], config: RatingsConfig) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(predictions):
        name = getattr(one, config.by)
        if name:
            rows[name].append(index)
    return rows


def _rated(
    rating: Rating, rows: Mapping[str, list[int]], predictions: Sequence[Prediction], config: RatingsConfig
) -> list[int]:
    """The rows that a rating is about: several only where they say the same and have the same answer."""
    found = rows.get(rating.row, [])
    if not found:
        raise DataError(
            f"{rating.place}: rates the row with {config.by} {rating.row[:_SHOWN]!r}, which is none of the {len(predictions)} rows "
            f"scored; expected ratings of these rows (evaluate.ratings.by says what names a row)"
        )
    if len({predictions[index].output for index in found}) > 1:
        raise DataError(
            f"{rating.place}: {config.by} {rating.row[:_SHOWN]!r} names {len(found)} rows with different answers; set "
            "evaluate.ratings.by to key or place, which tell them apart"
        )
    return found


def read_ratings(config: RatingsConfig) -> Iterator[Rating]:
    """The ratings of a file, in its order.

    Raises:
        DataError: naming file and line.
    """
    names = {"row": config.row or config.by, "rater": config.rater, "rating": config.rating}
    is_empty = True
    for place, line in _lines(config.path):
        is_empty = False
        missing = [f"{name} (evaluate.ratings.{key})" for key, name in names.items() if line.get(name) in (None, "")]
        if missing:
            found = ", ".join(str(name) for name in line)
            raise DataError(f"{place}: found the columns {found}; expected a value in {' and '.join(missing)}")
        row, rater = str(line[names["row"]]), str(line[names["rater"]])
        value = _value(place, line[names["rating"]], config)
        yield Rating(place, row, rater, value, line.get(OUTPUT))
    if is_empty:
        raise DataError(f"{config.path}: holds no ratings; expected one a line")


def _value(place: str, given: Any, config: RatingsConfig) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: the rating is {given!r}; expected a number")
    lowest, highest = config.lowest, config.highest
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        low, high = ("-" if bound is None else f"{bound:g}" for bound in (lowest, highest))
        raise DataError(
            f"{place}: the rating is {value:g}; expected one from {low} to {high} (evaluate.ratings.lowest and highest)"
        )
    return value


def read_file(path: str) -> str:
    """The text of a file of ratings.

    Raises:
        DataError: if there is none.
    """
    folder, _, name = path.rpartition("/")
    try:
        return Storage.open(folder or ".").read_text(name).lstrip("\ufeff")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path}: no such file; evaluate.ratings.path names a JSONL or CSV file") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def _lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and columns of each line of a JSONL or CSV file."""
    text = read_file(path)
    if path.lower().endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for row in reader:
            yield f"{path}:{reader.line_num}", {key: value for key, value in row.items() if key is not None}
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", _object(f"{path}:{number}", line)


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: is no JSON ({error.msg}); expected an object a line, or a file that ends in .csv"
        ) from None
    if not isinstance(value, dict):
        raise DataError(f"{place}: found {type(value).__name__}; expected an object with row, rater and rating")
    return value
