"""Scores a model folder on data: loss and greedy answers of causal models, labels of classifiers."""

from trainers.evaluation.evaluate import How, evaluate_folder, evaluate_subject
from trainers.evaluation.result import EvaluationResult, Prediction

__all__ = ["EvaluationResult", "How", "Prediction", "evaluate_folder", "evaluate_subject"]
