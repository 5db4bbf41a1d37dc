"""With and without some stages, seed by seed."""

import pytest

from cluster.config import RunConfig
from cluster.exceptions import ConfigError
from trainers.data.ablation import Ablation, ablate


def config_of(*stages, **train):
    return RunConfig.model_validate(
        {
            "name": "cards",
            "model": {"kind": "scratch"},
            "data": {"train": "train.csv", "seed": 7, "stages": list(stages)},
            "train": {"objective": {"kind": "classification"}, "seed": 3, **train},
        }
    )


NOISE, GUARD = {"kind": "noise", "copies": 2}, {"kind": "meaning_guard"}
OWN = {"kind": "python", "function": "own:clean"}


def test_each_seed_trains_both_sides_with_the_same_draws():
    trained = []

    def train(config):
        trained.append(config)
        return {"test_accuracy": 0.5 + 0.1 * len(config.data.stages) + 0.01 * config.train.seed}

    found = ablate(config_of(OWN, NOISE, GUARD), 3, train=train)
    assert [one.name for one in trained] == [f"cards-{side}-{n}" for n in (3, 4, 5) for side in ("without", "with")]
    assert [[stage.kind for stage in one.data.stages] for one in trained[:2]] == [
        ["python"],
        ["python", "noise", "meaning_guard"],
    ]
    assert [(one.train.seed, one.data.seed) for one in trained[::2]] == [(3, 7), (4, 8), (5, 9)]
    assert (found.kinds, found.metric, found.seeds) == (["noise", "meaning_guard"], "test_accuracy", [3, 4, 5])
    assert found.differences == pytest.approx([0.2] * 3) and found.interval == pytest.approx((0.2, 0.2))


def test_any_stage_and_metric_may_be_asked_for():
    found = ablate(config_of(OWN, NOISE), 2, ["python"], "eval_f1", lambda config: {"eval_f1": len(config.data.stages)})
    assert (found.without, found.with_stages, found.kinds) == ([1.0, 1.0], [2.0, 2.0], ["python"])


def test_the_interval_is_students_over_the_paired_differences():
    found = Ablation(["noise"], "test_accuracy", [0, 1, 2], [0.50, 0.60, 0.70], [0.52, 0.63, 0.71])
    assert found.difference == pytest.approx(0.02)
    assert found.interval == pytest.approx((0.02 - 0.024841, 0.02 + 0.024841), abs=1e-5)
    assert found.sentence.endswith("+0.0200 (95 % interval -0.0048 to +0.0448, 3 seeds): no difference shown")
    clear = Ablation(["noise"], "m", [0, 1], [0.5, 0.5], [0.6, 0.6])
    assert clear.sentence.endswith("higher with them") and clear.summary()["interval"] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(
    ("stages", "seeds", "words"),
    [
        ([OWN], 3, "found python; expected a stage that augments to leave out"),
        ([NOISE], 1, "found 1 seeds; expected at least 2"),
        ([NOISE], 2, "metric=test_accuracy: the run measured train_loss; name one of these"),
    ],
)
def test_nothing_to_compare_is_refused(stages, seeds, words):
    with pytest.raises(ConfigError, match=words):
        ablate(config_of(*stages), seeds, train=lambda config: {"train_loss": 1.0, "best": "x"})
