"""Claims about figures: intervals, groups, failures, costs, and what changes them."""

import numpy as np
import pytest

from cluster.config import EvaluateConfig, MetricSpec
from cluster.exceptions import DataError
from trainers.evaluation.cost import active_time, cost_of
from trainers.evaluation.figures import plain, summarise
from trainers.evaluation.fingerprint import annotator_key, data_fingerprint, figures_fingerprint
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistics import wilson

SETTINGS = EvaluateConfig(num_resamples=500)


def answered(number: int, rights: int, **columns) -> list[Prediction]:
    return [
        Prediction(
            f"x:{at}",
            "yes",
            "yes" if at < rights else "no",
            1.0 + at % 3,
            2,
            key=str(at),
            columns={**columns, "user": at // 5},
        )
        for at in range(number)
    ]


def test_every_metric_has_an_interval_and_so_has_every_slice():
    result = summarise(
        "causal_lm", Rows(answered(40, 30, channel="mail") + answered(20, 5, channel="chat")), SETTINGS, ["channel"]
    )
    assert result.intervals["exact_match"] == pytest.approx((wilson(35, 60).low, wilson(35, 60).high))
    low, high = result.intervals["loss"]
    assert low < result.metrics["loss"] < high
    assert set(result.intervals) == set(result.metrics) - {"cut_rows"}
    by_channel = result.slice_intervals["channel"]
    assert by_channel["mail"]["exact_match"][0] > by_channel["chat"]["exact_match"][1]
    assert {one.slices["channel"] for one in result.predictions} == {"mail", "chat"}


def test_rows_that_belong_together_widen_the_interval():
    rows = Rows(answered(100, 50))
    apart = summarise("causal_lm", rows, SETTINGS).intervals["exact_match"]
    together = summarise("causal_lm", rows, SETTINGS.model_copy(update={"groups": "user"})).intervals["exact_match"]
    assert np.ptp(together) > 1.5 * np.ptp(apart)
    with pytest.raises(DataError, match=r"evaluate\.groups='team': no row has this column"):
        summarise("causal_lm", rows, SETTINGS.model_copy(update={"groups": "team"}))


def test_one_row_has_a_value_and_no_interval():
    result = summarise("causal_lm", Rows(answered(1, 1)), SETTINGS)
    assert result.metrics["exact_match"] == 1.0 and result.intervals == {}


def test_rows_without_an_answer_are_counted():
    result = summarise(
        "causal_lm", Rows([*answered(3, 3), Prediction("x:9", "yes", None, error="status 400")]), SETTINGS
    )
    assert result.metrics["failed_rows"] == 1


def test_slices_come_in_the_order_of_their_numbers():
    rows = Rows([Prediction(f"x:{n}", "a", "a", columns={"length": n % 12}) for n in range(24)])
    assert list(summarise("causal_lm", rows, SETTINGS, ["length"]).slices["length"]) == [str(n) for n in range(12)]


def test_pauses_and_overlap_do_not_count_as_work():
    spans = [(0.0, 2.0), (1.0, 3.0), (10.0, 11.0), (10.2, 10.4)]
    facts = [{"began_unix_s": began, "ended_unix_s": ended, "peak_memory_bytes": 10 * ended} for began, ended in spans]
    assert active_time(facts) == 4.0
    rows = [Prediction("x", "a", "b", output_tokens=6, latency_s=float(n)) for n in range(1, 21)]
    found = cost_of(rows, [*facts, {"began_unix_s": 20.0, "ended_unix_s": 21.0, "phase": "answers"}])
    assert found["rows_per_s"] == 4.0 and found["output_tokens_per_s"] == 120.0
    assert found["latency_p50_s"] == 10.5 and found["latency_p95_s"] == pytest.approx(19.05)
    assert found["peak_memory_bytes"] == 110.0
    assert cost_of(rows[:0], []) == {}


def test_figures_change_with_the_settings_and_with_a_teams_own_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_metric.py").write_text("def polite(rows):\n    return 1.0\n")
    settings = EvaluateConfig(metrics=["own_metric:polite"])
    before, key = figures_fingerprint(settings, ()), annotator_key(settings.metrics[0])
    assert before == figures_fingerprint(settings.model_copy(update={"batch_size": 7}), ())
    assert before != figures_fingerprint(settings, ("channel",))
    (tmp_path / "own_metric.py").write_text("def polite(rows):\n    return 0.5\n")
    assert before != figures_fingerprint(settings, ())
    assert key != annotator_key(settings.metrics[0]) and key.startswith("own-metric-polite-")
    assert annotator_key(MetricSpec(name="a:b", args={"k": 1})) != annotator_key(MetricSpec(name="a:b", args={"k": 2}))


def test_the_order_of_rows_does_not_change_what_they_say():
    rows = answered(5, 5)
    assert data_fingerprint(rows) == data_fingerprint(rows[::-1]) != data_fingerprint(rows[:4])


def test_what_is_no_number_is_null_in_json():
    assert plain({"a": float("nan"), "b": [1.0, float("inf")], "c": ("x",)}) == {
        "a": None,
        "b": [1.0, None],
        "c": ["x"],
    }
