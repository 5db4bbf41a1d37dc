"""Where a model fails and which data would help: slices, confusions, neighbours among the training rows, doubtful labels."""

from trainers.evaluation.errors.sections import error_section, report, sentences

__all__ = ["error_section", "report", "sentences"]
