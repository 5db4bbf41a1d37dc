"""A user's own stage: a Python function, called with every row."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from cluster.config.stages import PythonStage
from cluster.exceptions import ConfigError
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext


class User(RowStage[PythonStage]):
    """Calls the function that `function` names with every row."""

    def __init__(self, config: PythonStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.function = functools.partial(load_function(config.function), **config.arguments)

    @classmethod
    def inputs(cls, config: PythonStage) -> str:
        """Hash of the module's source, so that an edited function is run again."""
        source = inspect.getsource(sys.modules[load_function(config.function).__module__])
        return hashlib.sha256(source.encode()).hexdigest()

    def __call__(self, records: list[Record]) -> list[Record]:
        return [made for record in records for made in self._call(record)]

    def _call(self, record: Record) -> list[Record]:
        returned = self.function(copy.deepcopy(record.row))
        if returned is None:
            record.reject("the function returned None")
            return [record]
        if isinstance(returned, dict):
            record.row = returned
            return [record]
        if not isinstance(returned, list) or not all(isinstance(row, dict) for row in returned):
            raise TypeError(f"returned {type(returned).__name__}, expected a row (dict), a list of rows, or None")
        if not returned:
            record.reject("the function returned no row")
            return [record]
        record.row, *rest = returned
        return [record, *(record.derive(row=row) for row in rest)]


def load_function(path: str) -> Callable[..., Any]:
    """The function at `package.module:function`.

    Raises:
        ConfigError: if it cannot be imported.
    """
    module_name, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{path}: cannot be imported ({error}); expected package.module:function, importable from "
            f"{', '.join(entry or 'the current folder' for entry in sys.path[:3])}, ..."
        ) from error
    if not callable(function):
        raise ConfigError(f"{path}: is {type(function).__name__}, expected a function")
    return function
