"""Answers judged: by a model, by people, and in conversations with simulated users."""

from trainers.evaluation.judge.annotate import annotate, prefer
from trainers.evaluation.judge.ratings import annotate_ratings
from trainers.evaluation.judge.report import report, sentences
from trainers.evaluation.judge.step import judged, ratings_stamp

__all__ = ["annotate", "annotate_ratings", "judged", "prefer", "ratings_stamp", "report", "sentences"]
