"""lm-evaluation-harness on model folders and endpoints."""

from trainers.evaluation.harness.run import HarnessResult, Score, evaluate_with_harness
from trainers.evaluation.harness.settings import HarnessSettings

__all__ = ["HarnessResult", "HarnessSettings", "Score", "evaluate_with_harness"]
