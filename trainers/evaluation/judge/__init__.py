"""Answers judged: by a model, by people, and in conversations with simulated users."""

from trainers.evaluation.judge.annotate import annotate, prefer
from trainers.evaluation.judge.ratings import annotate_ratings
from trainers.evaluation.judge.report import report

__all__ = ["annotate", "annotate_ratings", "prefer", "report"]
