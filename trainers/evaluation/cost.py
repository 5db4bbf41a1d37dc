"""What an evaluation and its model cost: speed, latency, memory, size, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainers.evaluation.result import Prediction

ANSWERS_PHASE = "answers"
"""`phase` of facts of work in which answers were only written, not scored."""


def cost_of(predictions: Sequence[Prediction], facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Speed and memory of the scoring, start-up left out.

    Args:
        facts: of the windows that the rows were scored in; see `Part.facts`.

    Returns:
        As far as they are known: `rows_per_s`, `output_tokens_per_s`, `latency_p50_s` and `latency_p95_s` (of an answer;
        of the batch that a row was in, where rows are scored in batches), `peak_memory_bytes` (of one worker).
    """
    found: dict[str, float] = {}
    if active_s := active_time(facts):
        found["rows_per_s"] = len(predictions) / active_s
    writing = [fact for fact in facts if fact.get("phase") == ANSWERS_PHASE] or facts
    tokens = sum(one.output_tokens or 0 for one in predictions)
    if tokens and (writing_s := active_time(writing)):
        found["output_tokens_per_s"] = tokens / writing_s
    latencies = [one.latency_s for one in predictions if one.latency_s is not None]
    if latencies:
        p50, p95 = np.quantile(latencies, [0.5, 0.95])
        found |= {"latency_p50_s": float(p50), "latency_p95_s": float(p95)}
    peaks = [fact["peak_memory_bytes"] for fact in facts if "peak_memory_bytes" in fact]
    return found | ({"peak_memory_bytes": float(max(peaks))} if peaks else {})


def active_time(facts: Sequence[Mapping[str, Any]]) -> float:
    """Seconds in which at least one worker was at work: pauses, start-up and overlap do not count."""
    spans = sorted((fact["began_unix_s"], fact["ended_unix_s"]) for fact in facts if "began_unix_s" in fact)
    total, until = 0.0, float("-inf")
    for began, ended in spans:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
