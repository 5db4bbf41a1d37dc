"""Slices of predictions: by a column, by language, or by an expression over columns such as `len(prompt) > 200`.

Expressions are a small part of Python's, read by its own parser and computed here: nothing else can be called or reached.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.result import Prediction

NO_VALUE = "(none)"
"""Slice of the rows that lack a column."""
OTHERS = "(others)"
"""Slice of all values beyond the most common ones."""
MOST_VALUES = 200
LANGUAGE = "language"

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ends": lambda text, end: str(text).endswith(end),
    "float": float,
    "int": int,
    "len": len,
    "lower": lambda text: str(text).lower(),
    "max": max,
    "min": min,
    "round": round,
    "starts": lambda text, start: str(text).startswith(start),
    "str": str,
    "upper": lambda text: str(text).upper(),
    "words": lambda text: len(str(text).split()),
}
"""What an expression may call."""
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: lambda left, right: float(left) * float(right),  # a text times a million would fill memory
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: lambda left, right: float(left) % float(right),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


class _Missing(Exception):
    """A row lacks a column that an expression names."""


def sliced(predictions: Sequence[Prediction], names: Sequence[str]) -> list[Prediction]:
    """The rows with their value of each slice written onto them; raises what `slice_values` does."""
    values = {name: slice_values(name, predictions) for name in names}
    return [
        dataclasses.replace(one, slices={name: values[name][index] for name in names})
        for index, one in enumerate(predictions)
    ]


def slice_values(name: str, predictions: Sequence[Prediction]) -> list[str]:
    """The slice of each row.

    Args:
        name: a column, `language`, or an expression.

    Raises:
        DataError: for a column that no row has, or values that an expression cannot be computed from.
        ConfigError: for an expression that is none.
    """
    if any(name in one.columns for one in predictions):
        return _gathered([_shown(one.columns.get(name)) for one in predictions])
    if name == LANGUAGE:
        return _gathered([language_of(one) for one in predictions])
    tree = parse(name)
    if isinstance(tree, ast.Name) and tree.id not in ("prompt", "reference", "output"):
        raise DataError(f"no row has the slice column {name!r}; name a column that the rows of --data have")
    _check_names(name, tree, predictions)
    return _gathered([_value(name, tree, one) for one in predictions])


def parse(text: str) -> ast.expr:
    """The tree of an expression, everything in it allowed.

    Raises:
        ConfigError: naming what is not.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(
            f"the slice {text!r} is neither a column nor an expression; expected such as `channel` or `len(prompt) > 200`"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not _is_known(node):
            raise _not_allowed(text, ast.unparse(node))
        if isinstance(node, ast.expr) and type(node) not in _EVALUATE:
            raise _not_allowed(text, ast.unparse(node))
        if isinstance(node, ast.operator | ast.cmpop | ast.unaryop) and type(node) not in (
            *OPERATORS,
            ast.Not,
            ast.USub,
        ):
            raise _not_allowed(text, type(node).__name__)
    return tree


def _is_known(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in FUNCTIONS and not call.keywords


def _not_allowed(text: str, found: str) -> ConfigError:
    return ConfigError(
        f"the slice {text!r} holds {found}; allowed are columns, texts, numbers, comparisons, and, or, not, in, + - * / // %, "
        f"and the functions {', '.join(FUNCTIONS)}"
    )


def _check_names(text: str, tree: ast.expr, predictions: Sequence[Prediction]) -> None:
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - called
    known = {"prompt", "reference", "output", LANGUAGE}.union(*(one.columns for one in predictions))
    unknown = sorted(names - known)
    if unknown and predictions:
        raise DataError(
            f"the slice {text!r} names {unknown[0]!r}, which no row has; columns are {', '.join(sorted(known))}"
        )


def _value(text: str, tree: ast.expr, row: Prediction) -> str:
    try:
        return _shown(_evaluate(tree, row))
    except _Missing:
        return NO_VALUE
    except Exception as error:  # whatever an operator raises on values that do not suit it
        raise DataError(
            f"{row.place}: the slice {text!r} cannot be computed ({error}); change it or the row"
        ) from error


def _shown(value: Any) -> str:
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _gathered(values: list[str]) -> list[str]:
    counts = Counter(values)
    if len(counts) <= MOST_VALUES:
        return values
    kept = {value for value, _ in counts.most_common(MOST_VALUES - 1)}
    return [value if value in kept else OTHERS for value in values]


def _evaluate(node: ast.expr, row: Prediction) -> Any:
    return _EVALUATE[type(node)](node, row)


def _name(node: ast.Name, row: Prediction) -> Any:
    if node.id in row.columns:
        found = row.columns[node.id]
    elif node.id == LANGUAGE:
        found = language_of(row)
    else:
        found = getattr(row, node.id) if node.id in ("prompt", "reference", "output") else None
    if found is None:
        raise _Missing
    return found


def _compare(node: ast.Compare, row: Prediction) -> bool:
    left = _evaluate(node.left, row)
    for compare, other in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(other, row)
        if not OPERATORS[type(compare)](left, right):
            return False
        left = right
    return True


def _call(node: ast.Call, row: Prediction) -> Any:
    assert isinstance(node.func, ast.Name)
    return FUNCTIONS[node.func.id](*(_evaluate(argument, row) for argument in node.args))


def _unary(node: ast.UnaryOp, row: Prediction) -> Any:
    value = _evaluate(node.operand, row)
    return not value if isinstance(node.op, ast.Not) else -value


def _bool(node: ast.BoolOp, row: Prediction) -> bool:
    decide = all if isinstance(node.op, ast.And) else any
    return decide(_evaluate(part, row) for part in node.values)


_EVALUATE: Mapping[type, Callable[[Any, Prediction], Any]] = {
    ast.BinOp: lambda node, row: OPERATORS[type(node.op)](_evaluate(node.left, row), _evaluate(node.right, row)),
    ast.BoolOp: _bool,
    ast.Call: _call,
    ast.Compare: _compare,
    ast.Constant: lambda node, row: node.value,
    ast.List: lambda node, row: [_evaluate(one, row) for one in node.elts],
    ast.Name: _name,
    ast.Tuple: lambda node, row: [_evaluate(one, row) for one in node.elts],
    ast.UnaryOp: _unary,
}


def language_of(row: Prediction) -> str:
    """Language of the prompt (or, without one, of the answer), as its column says or as its words tell."""
    if row.columns.get(LANGUAGE) is not None:
        return str(row.columns[LANGUAGE])
    text = row.prompt or row.reference or row.output or ""
    return _identifier().identify(text)[0]


@functools.cache
def _identifier() -> Any:
    from cluster.config.stages.clean import LanguageStage
    from trainers.data.stages.base import StageContext
    from trainers.data.stages.clean.language import Language

    return Language(LanguageStage(), StageContext(seed=0, classification=False))
