"""Studies that were never run: outcomes of a known function of the settings."""

import numpy as np

from cluster.config.tune import Choice, FloatRange, IntRange
from tuning.report.facts import StudyFacts, TrialFacts
from tuning.report.settings import Settings
from tuning.study import TrialOutcome

SPACE = {
    "train.learning_rate": FloatRange(low=1e-5, high=1e-1, log=True),
    "train.weight_decay": FloatRange(low=0.0, high=0.2),
    "train.num_train_epochs": IntRange(low=1, high=10),
    "train.optimizer": Choice(values=["adamw", "sgd"]),
}


def study_of(score, num_trials=60, *, space=None, seed=0, noise=0.01, metric="eval_accuracy", maximises=True):
    """A random search whose trials score `score(unit of each key)` plus noise."""
    space = space or SPACE
    rng, settings = np.random.default_rng(seed), Settings(space)
    trials = []
    for number, unit in enumerate(rng.random((num_trials, len(space)))):
        values = settings.values(unit)
        known = {key.split(".")[-1]: settings.unit(key, value) for key, value in values.items()}
        found = {"eval_loss": 1.0, "step": 10, "tokens": 1000, metric: float(score(**known) + rng.normal(0.0, noise))}
        trials.append(TrialFacts(TrialOutcome(f"trial-{number}", values, found), finished_at=f"{number:06d}"))
    facts = StudyFacts.of([], space, metric, maximises=maximises)
    return StudyFacts(facts.name, space, facts.objectives, trials)


def planted(learning_rate, optimizer, **rest):
    """Learning rate matters most, with a peak at 0.7 of its range; the optimizer a little; nothing else."""
    return 0.9 - 0.5 * (learning_rate - 0.7) ** 2 - 0.05 * (optimizer > 0.5)
