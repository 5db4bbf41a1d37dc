"""Code that a model wrote: whether it parses, and whether it passes its tests."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.metrics.base import LeftOut, Notes
from trainers.evaluation.metrics.common import columns_there
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.sandbox import Limits, Outcome, run_python

_FENCED = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
LAST_WORDS = 300
"""Characters of what a failing program said that are kept."""


def code_of(text: str, languages: Sequence[str] = ("python", "python3", "py", "")) -> str:
    """The code in an answer: the longest block between fences (of a language, or of none), else the whole answer."""
    blocks = [block for name, block in _FENCED.findall(text) if name.lower() in languages]
    return max(blocks, key=len) if blocks else text


def code_syntax(rows: Rows) -> list[float] | None:
    """Share of answers whose code is Python that parses (EVL-18); nothing is run."""
    if all(one is None for one in rows.outputs):
        return None
    return [np.nan if one is None else _parses(code_of(one)) for one in rows.outputs]


def _parses(code: str) -> float:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return 0.0
    return float(bool(code.strip()))


def pass_at_k(
    rows: Rows,
    *,
    k: Sequence[int] | int = 1,
    tests: str = "test",
    entry_point: str = "entry_point",
    time_limit_s: float = 10.0,
    memory_mb: int = 512,
) -> Mapping[str, Any] | LeftOut:
    """`pass@k`: how likely one of k answers passes the tests, from all answers to each question (Chen et al., 2021).

    Every answer is run with the tests of its row behind it, as a program of a stranger (`trainers.evaluation.sandbox`).
    An answer that lacks the function asked for is taken to go on from the prompt, as in HumanEval.

    Args:
        k: one number or several; more than one need several answers a row.
        tests: column with the tests: Python text that raises where something is wrong, or a list of such (MBPP). Where
            it defines `check`, that is called with the function.
        entry_point: column with the name of the function, where there is one.
        time_limit_s: wall time and time on a core of one answer.
        memory_mb: address space of one answer.
    """
    depths = [k] if isinstance(k, int) else list(k)
    if not depths or min(depths) < 1:
        raise ConfigError(f"metric pass_at_k: found k={k}; expected numbers of answers, from 1")
    runs, passed = rows.note("code_runs"), rows.note("code_passed")
    if np.isnan(runs).all():
        return LeftOut(f"no row has both an answer and tests in the column {tests!r}; {columns_there(rows)}")
    return {f"pass@{depth}": _estimate(runs, passed, depth) for depth in depths}


def _estimate(runs: np.ndarray, passed: np.ndarray, k: int) -> np.ndarray | LeftOut:
    most = int(np.nanmax(runs))
    if most < k:
        return LeftOut(f"at least {k} answers a row are needed; found {most}: ask for more samples")
    return np.array([pass_chance(n, c, k) for n, c in zip(runs, passed, strict=True)])


def pass_chance(n: float, c: float, k: int) -> float:
    """Chance that k of n answers, of which c pass, have one that passes: 1 - C(n-c, k) / C(n, k); nan for n below k.

    Source: M. Chen et al., Evaluating large language models trained on code, 2021, equation 1.
    """
    if np.isnan(n) or n < k:
        return float("nan")
    return 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1))) if n - c >= k else 1.0


def run_tests(
    predictions: Sequence[Prediction],
    *,
    k: Sequence[int] | int = 1,
    tests: str = "test",
    entry_point: str = "entry_point",
    time_limit_s: float = 10.0,
    memory_mb: int = 512,
) -> Notes:
    """How many answers of each row ran and passed, and how the first that failed did."""
    limits = Limits(wall_s=time_limit_s, cpu_s=max(int(time_limit_s), 1), memory_bytes=memory_mb << 20)
    programs = [_programs(one, tests, entry_point) for one in predictions]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = [[pool.submit(run_python, program, limits=limits) for program in row] for row in programs]
        outcomes = [[one.result() for one in row] for row in running]
    return [_noted(row) if row else {} for row in outcomes]


def _programs(one: Prediction, tests: str, entry_point: str) -> list[str]:
    """Each answer with the tests behind it; none where there is no answer or no test."""
    asked, name = one.columns.get(tests), one.columns.get(entry_point)
    if one.output is None or not asked:
        return []
    check = "\n".join(map(str, asked)) if isinstance(asked, list) else str(asked)
    if name and re.search(r"^def check\(", check, re.MULTILINE) and not re.search(r"^check\(", check, re.MULTILINE):
        check += f"\ncheck({name})"
    return [f"{_whole(answer, one.prompt, name)}\n\n{check}\n" for answer in (one.output, *one.samples)]


def _whole(answer: str, prompt: str | None, name: Any) -> str:
    """The answer as a program: behind the prompt, where the function is begun there."""
    code = code_of(answer)
    begins = rf"^\s*(async\s+)?def\s+{re.escape(str(name))}\b"
    if name and prompt and not re.search(begins, code, re.MULTILINE) and re.search(begins, prompt, re.MULTILINE):
        return prompt + code
    return code


def _noted(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    failed = next((one for one in outcomes if not one.is_finished), None)
    found: dict[str, Any] = {
        "code_runs": len(outcomes),
        "code_passed": sum(one.is_finished for one in outcomes),
        "code_held_by": ", ".join(outcomes[0].layers),
    }
    if failed is not None:
        said = (failed.stderr.strip().splitlines() or [""])[-1][:LAST_WORDS]
        found["code_failure"] = ": ".join(part for part in (failed.kind, failed.reason, said) if part)
    return found
