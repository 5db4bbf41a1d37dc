"""What is minimised. A new objective is one new file, its config, and one line here."""

from cluster.config import RunConfig
from trainers.objectives.base import Objective
from trainers.objectives.classification import ClassificationObjective
from trainers.objectives.sft import SupervisedFineTuningObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "sft": SupervisedFineTuningObjective,
    "classification": ClassificationObjective,
}


def build_objective(config: RunConfig) -> Objective:
    """The objective that `train.objective` names."""
    return OBJECTIVES[config.train.objective.kind](config)


__all__ = ["OBJECTIVES", "Objective", "build_objective"]
