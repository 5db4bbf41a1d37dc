"""Answers judged: by a model, by people, and in conversations with simulated users."""

from trainers.evaluation.judge.annotate import annotate, prefer

__all__ = ["annotate", "prefer"]
