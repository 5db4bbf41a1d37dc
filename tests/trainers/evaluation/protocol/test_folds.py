"""Claims about cross-validation that need no training."""

import numpy as np
import pytest
from scipy import stats

from cluster.config import RunConfig
from cluster.exceptions import ConfigError
from cluster.storage import Storage
from trainers.evaluation.protocol.folds import Folds, _check_stages, _fold_configs, corrected_interval


def run_config(**data) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "support",
            "model": {"kind": "scratch"},
            "data": {"train": "train.csv", "test": "test.csv", **data},
            "train": {"objective": {"kind": "classification"}},
        }
    )


def test_every_fold_is_an_ordinary_run_that_never_sees_the_test_rows(tmp_path):
    runs = list(_fold_configs(run_config(seed=3), Folds(3, repeats=2, groups="user"), Storage.open(tmp_path)))
    assert [run.name for run in runs] == [f"support-{repeat}-{fold}" for repeat in range(2) for fold in range(3)]
    assert all(run.data.test is None and run.cluster.storage_path == str(tmp_path) for run in runs)
    assert [run.data.stages[0].fold for run in runs] == [0, 1, 2] * 2
    assert [run.data.seed for run in runs] == [3] * 3 + [4] * 3
    assert {(run.data.stages[0].into, run.data.stages[0].column) for run in runs} == {("test", "user")}


def test_rows_that_are_split_for_testing_already_are_refused():
    with pytest.raises(ConfigError, match=r"data\.stages: split sets rows aside"):
        _check_stages(run_config(stages=[{"kind": "split", "test": 0.1}]))
    _check_stages(run_config(stages=[{"kind": "split", "validation": 0.1}]))


@pytest.mark.parametrize("folds", [Folds(5, groups="user", time="day"), Folds(5, repeats=2, time="day")])
def test_ways_to_deal_that_contradict_are_refused(folds):
    with pytest.raises(ConfigError):
        folds.check()


def test_the_interval_over_folds_counts_in_that_they_share_rows():
    values = [0.8, 0.82, 0.79, 0.81, 0.83]
    plain = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    low, high = corrected_interval(values, 1 / 4, 0.95)
    assert low < plain[0] < plain[1] < high
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * 5))
    assert corrected_interval(values, 0.0, 0.95) == pytest.approx(plain)
