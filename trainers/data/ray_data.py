"""Ray Data, quiet and in order."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cluster.exceptions import mobula_cause

if TYPE_CHECKING:
    import ray.data

_context_lock = threading.RLock()
"""The current context is one for the process, and feeds make their pipelines in threads."""


@contextlib.contextmanager
def quiet_context(max_block_bytes: int | None = None, object_store_bytes: int | None = None) -> Iterator[None]:
    """Datasets made inside, and run later, keep the order of their rows and show neither progress bars nor logs.

    Args:
        max_block_bytes: size above which a block is split; small blocks are what parallelism comes from.
        object_store_bytes: how much of the object store one pipeline may fill while it reads ahead.
    """
    from ray.data import DataContext, ExecutionResources

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
    if max_block_bytes is not None:
        context.target_max_block_size = max_block_bytes
    if object_store_bytes is not None:
        context.execution_options.resource_limits = ExecutionResources.for_limits(
            object_store_memory=object_store_bytes
        )
    hush_console()
    with _context_lock, DataContext.current(context):
        yield


def hush_console() -> None:
    """Keep Ray Data's log in its file: on the console it would repeat, with a traceback, what is raised anyway."""
    import ray.data

    for handler in logging.getLogger(ray.data.__name__).handlers:  # set up by the import
        if isinstance(handler, logging.StreamHandler) and type(handler).__module__.startswith("ray."):
            handler.setLevel(logging.CRITICAL)


def rows_of(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """The rows of a dataset as it runs; a user's mistake comes out as itself."""
    try:
        yield from dataset.iter_rows()
    except Exception as error:  # Ray Data wraps what failed, whatever it was
        if found := mobula_cause(error):
            raise found from None
        raise
