"""What is said of the winner's lead, of convergence and of costs, on figures whose truth is known."""

import dataclasses
import math

import numpy as np
import pytest

from cluster.config.tune import FloatRange, IntRange
from tests.tuning.report.studies import SPACE, planted, study_of
from tuning.report.facts import StudyFacts, TrialFacts
from tuning.report.history import best_so_far, converged_at, costs, still_learning, with_costs
from tuning.report.winner import chances_to_be_best, from_counts, lead, over_rows, over_seeds, repeats
from tuning.study import TrialOutcome


def test_a_clear_lead_over_rows_is_sure_and_a_tie_is_not():
    rng = np.random.default_rng(0)
    second = (rng.random(1000) < 0.8).astype(float)
    winner = np.maximum(second, rng.random(1000) < 0.3)
    clear, tie = over_rows(("a", winner), ("b", second)), over_rows(("a", second), ("b", second))
    assert clear.low > 0 and clear.probability > 0.99 and "is better than" in clear.sentence
    assert tie.probability == pytest.approx(0.5, abs=0.02) and "cannot be told from" in tie.sentence


def test_a_lead_in_loss_counts_as_better():
    losses = np.random.default_rng(0).random(400)
    found = over_rows(("a", losses - 0.1), ("b", losses), maximises=False)
    assert found.gain == pytest.approx(0.1) and found.probability > 0.99


def test_seeds_decide_by_their_spread():
    clear = over_seeds(("a", np.array([0.90, 0.91, 0.90])), ("b", np.array([0.80, 0.81, 0.80])))
    unsure = over_seeds(("a", np.array([0.95, 0.70, 0.90])), ("b", np.array([0.80, 0.85, 0.80])))
    assert clear.low > 0.08 and unsure.low < 0 < unsure.high


def test_counts_alone_are_more_cautious_than_the_rows():
    rng = np.random.default_rng(1)
    second = (rng.random(500) < 0.8).astype(float)
    winner = np.maximum(second, rng.random(500) < 0.2)
    rows = over_rows(("a", winner), ("b", second))
    counts = from_counts(("a", float(winner.mean())), ("b", float(second.mean())), 500)
    assert counts.high - counts.low > rows.high - rows.low


def test_chances_to_be_best_share_a_tie_and_sum_to_one():
    values = {"a": np.array([1.0, 0.0, 1.0, 1.0]), "b": np.array([1.0, 0.0, 1.0, 1.0]), "c": np.zeros(4)}
    found = chances_to_be_best(values, num_resamples=2000)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["a"] == pytest.approx(found["b"]) and found["c"] < 0.01


def seeded_study():
    space = {"train.learning_rate": SPACE["train.learning_rate"], "train.seed": IntRange(low=0, high=9)}
    scores = {1e-3: [0.90, 0.92, 0.91], 1e-4: [0.80, 0.82, 0.95], 1e-2: [0.3]}
    trials = [
        TrialFacts(
            TrialOutcome(f"{rate}-{seed}", {"train.learning_rate": rate, "train.seed": seed}, {"eval_accuracy": one})
        )
        for rate, found in scores.items()
        for seed, one in enumerate(found)
    ]
    return StudyFacts("study", space, StudyFacts.of([], space, "eval_accuracy").objectives, trials)


def test_repeated_seeds_rank_by_their_mean_rather_than_by_their_luck():
    study = seeded_study()
    assert study.best.name == "0.0001-2"
    found = lead(study)
    assert found.basis == "seeds" and found.winner == "0.001-0" and len(repeats(study)) == 2


def test_without_rows_or_seeds_the_counts_are_used_and_said():
    study = dataclasses.replace(study_of(planted, 10), num_validation_rows=300)
    found = lead(study)
    assert found.basis == "counts" and "taken as independent" in found.sentence
    assert lead(study_of(planted, 10)) is None  # how many rows is not known


def test_kept_answers_of_a_tied_second_stand_for_the_others():
    study = dataclasses.replace(study_of(lambda **units: 0.5, 4, noise=0.0), num_validation_rows=4)
    values = {"trial-0": np.array([1.0, 1.0, 0.0, 0.0]), "trial-3": np.array([0.0, 1.0, 1.0, 0.0])}
    assert (lead(study, values).basis, lead(study, values).second) == ("rows", "trial-3")
    study.trials[1].outcome.result["eval_accuracy"] = 0.49
    study.trials[2].outcome.result["eval_accuracy"] = 0.49
    study.trials[3].outcome.result["eval_accuracy"] = 0.25
    assert lead(study, values).basis == "counts"  # the second has not answered, and is no tie


def test_best_so_far_goes_one_way():
    assert best_so_far(np.array([1.0, 3.0, 2.0]), True).tolist() == [1.0, 3.0, 3.0]
    assert best_so_far(np.array([3.0, 1.0, 2.0]), False).tolist() == [3.0, 1.0, 1.0]


def trial(name, scores, seconds):
    rows = [{"step": 10 * (at + 1), "eval_accuracy": score} for at, score in enumerate(scores)]
    rows += [{"step": 5, "loss": 1.0, "memory_gib": 2.0}, {"step": 15, "loss": 1.0, "memory_gib": 3.0}]
    found = {"eval_accuracy": scores[-1], "eval_loss": 0.5, "step": 10 * len(scores), "train_s": seconds, "tokens": 100}
    return TrialFacts(TrialOutcome(name, {"train.learning_rate": 1e-3}, found), rows=rows)


def test_time_to_converge_and_costs_of_known_curves():
    trials = [trial("quick", [0.2, 0.79, 0.80, 0.80], 40.0), trial("slow", [0.2, 0.3, 0.6, 0.9], 40.0)]
    space = {"train.learning_rate": FloatRange(low=0.0, high=1.0)}
    study = StudyFacts("study", space, StudyFacts.of([], space, "eval_accuracy").objectives, trials)
    slow, quick = costs(study)
    assert (quick.steps_to_converge, quick.s_to_converge) == (20.0, 20.0)
    assert slow.steps_to_converge == 40.0 and slow.s_to_target == 40.0
    assert math.isinf(quick.s_to_target)  # half of all trials reached 0.85, and this one never did
    assert quick.memory_gib == 3.0 and math.isnan(quick.energy_j)
    assert with_costs(study).ranked[0].value("memory_gib") == 3.0
    assert still_learning(trials[1], study.objective, 0.01) and not still_learning(trials[0], study.objective, 0.01)


def test_a_loss_converges_downwards():
    assert converged_at([(1, 3.0), (2, 1.05), (3, 1.0), (4, 1.4)], maximises=False) == 2.0
