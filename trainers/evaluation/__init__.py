"""Scores a model folder on data: loss and greedy answers of causal models, labels of classifiers."""

from trainers.evaluation.evaluate import evaluate_folder
from trainers.evaluation.result import EvaluationResult, Prediction

__all__ = ["EvaluationResult", "Prediction", "evaluate_folder"]
