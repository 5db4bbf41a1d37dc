"""Runs code that a model wrote, so that whatever it does stays inside."""

from trainers.evaluation.sandbox.run import Limits, Outcome, run_python

__all__ = ["Limits", "Outcome", "run_python"]
