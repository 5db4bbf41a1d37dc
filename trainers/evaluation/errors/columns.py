"""What is known of each row, as columns of numbers: its length, label, words and whatever other columns the data has."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainers.evaluation.result import Prediction

MOST_VALUES, MOST_WORDS, MOST_LABELS = 40, 200, 200
LONGEST_VALUE = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One thing that is known of every row.

    Attributes:
        name: as people read it; of a flag, what it says where it holds.
        values: shape (n,), float64; of a flag 1 where it holds.
        is_flag: whether it only holds or does not.
        denied: of a flag, what it says where it does not hold.
        train: the same of the training rows, shape (m,); None where that is not known of them.
        is_label: it is about the right label.
    """

    name: str
    values: np.ndarray
    is_flag: bool = False
    denied: str = ""
    train: np.ndarray | None = None
    is_label: bool = False

    def condition(self, low: float, high: float) -> str:
        """That the value is above `low` and at most `high`, in words."""
        if self.is_flag:
            return self.name if low > 0 else self.denied
        whole = bool((self.values == np.round(self.values)).all())
        above, most = (f"{np.floor(low) + 1:g}", f"{np.floor(high):g}") if whole else (f"{low:.4g}", f"{high:.4g}")
        if np.isinf(high):
            return f"{self.name} at least {above}" if whole else f"{self.name} above {above}"
        if np.isinf(low):
            return f"{self.name} at most {most}"
        return f"{self.name} from {above} to {most}"


def columns_of(
    predictions: Sequence[Prediction],
    texts: Sequence[str],
    train: Sequence[str],
    train_labels: Sequence[str | None],
    least: int,
) -> list[Column]:
    """All that is known of rows, of training rows too where it can be told from text and label."""
    found = [
        _length(texts, train),
        _flag("it asks a question", "it asks no question", lambda text: "?" in text, texts, train),
        _flag("it holds a number", "it holds no number", lambda text: any(map(str.isdigit, text)), texts, train),
    ]
    cut = np.array([one.was_cut for one in predictions], np.float64)
    found.append(Column("it was cut to the model's length", cut, True, "it was not cut"))
    found += _labels([one.reference for one in predictions], train_labels, least)
    found += _mentioned(texts, train, least)
    found += _others(predictions, least)
    return [column for column in found if len(np.unique(column.values)) > 1]


def _length(texts: Sequence[str], train: Sequence[str]) -> Column:
    count = np.array([len(text.split()) for text in texts], np.float64)
    return Column("words", count, train=np.array([len(text.split()) for text in train], np.float64))


def _flag(name: str, denied: str, holds: Callable[[str], bool], texts: Sequence[str], train: Sequence[str]) -> Column:
    of_train = np.array([holds(text) for text in train], np.float64)
    return Column(name, np.array([holds(text) for text in texts], np.float64), True, denied, of_train)


def _labels(labels: Sequence[str | None], train: Sequence[str | None], least: int) -> list[Column]:
    """A flag for each label that is frequent enough; none where answers are free text."""
    counted = collections.Counter(label for label in labels if label is not None)
    frequent = [label for label, number in counted.most_common(MOST_LABELS) if number >= max(least // 2, 2)]
    known = any(label is not None for label in train) or not train
    return [
        Column(
            f"the label is {_short(label)}",
            np.array([one == label for one in labels], np.float64),
            True,
            f"the label is not {_short(label)}",
            np.array([one == label for one in train], np.float64) if known else None,
            is_label=True,
        )
        for label in frequent
    ]


def _mentioned(texts: Sequence[str], train: Sequence[str], least: int) -> list[Column]:
    """A flag for each word that is in enough rows and not in most of them."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, stop_words="english", min_df=min(least, len(texts)), max_df=0.5)
    try:
        counts = counter.fit_transform([text[:2000] for text in texts])
    except ValueError:  # no word is that frequent
        return []
    names = counter.get_feature_names_out()
    frequent = np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")[:MOST_WORDS]
    inside = counts[:, frequent].toarray().astype(np.float64)
    of_train = counter.transform([text[:2000] for text in train])[:, frequent].toarray() if len(train) else None
    return [
        Column(
            f"it mentions {names[word]!r}",
            inside[:, at],
            True,
            f"it does not mention {names[word]!r}",
            np.zeros(0) if of_train is None else of_train[:, at].astype(np.float64),
        )
        for at, word in enumerate(frequent)
    ]


def _others(predictions: Sequence[Prediction], least: int) -> list[Column]:
    """Numbers as they are, anything else value by value. Training rows are not looked up: a sample holds no columns."""
    names = dict.fromkeys(name for one in predictions for name in (*one.columns, *one.slices))
    found = []
    for name in names:
        given = [one.columns.get(name, one.slices.get(name)) for one in predictions]
        numbers = _numbers(given)
        if numbers is not None:
            found.append(Column(name, numbers))
            continue
        texts = [_short(value) if value is not None else None for value in given]
        counted = collections.Counter(text for text in texts if text is not None)
        usual = [value for value, number in counted.most_common(MOST_VALUES) if number >= max(least // 2, 2)]
        found += [
            Column(
                f"{name} is {value}",
                np.array([text == value for text in texts], np.float64),
                True,
                f"{name} is not {value}",
            )
            for value in usual
        ]
    return found


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    """The values as numbers, if all that are there are and they differ; what lacks gets the median."""
    known = [value for value in values if value is not None]
    if not known or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return None
    middle = float(np.median(known))
    numbers = np.array([middle if value is None else float(value) for value in values], np.float64)
    return numbers if np.isfinite(numbers).all() and len(np.unique(numbers)) > 5 else None


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
