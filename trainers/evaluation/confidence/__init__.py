"""How far a model's confidence can be trusted: calibration, label sets with a guarantee, strange rows, abstaining."""

from trainers.evaluation.confidence.calibration import Calibration, load_calibration
from trainers.evaluation.confidence.scores import Scores, scores_of
from trainers.evaluation.confidence.sections import report, sentences

__all__ = ["Calibration", "Scores", "load_calibration", "report", "scores_of", "sentences"]
