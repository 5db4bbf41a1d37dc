"""Claims about how clauses of a gate are written."""

import pytest
from pydantic import ValidationError

from cluster.config import GateConfig
from cluster.config.gate import AtLeast, AtMost, AtMostRatio, Better, NotWorse, Slices
from cluster.config.load import dump_config, load_config, load_gate
from cluster.exceptions import ConfigError

RUN_YAML = """\
name: support
model: {kind: scratch}
data: {train: train.jsonl}
gate:
  clauses:
    - accuracy not lower than champion by more than 0.5 points, 95 %
    - {kind: slices, margin: 0.03, columns: [channel]}
"""


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        (
            "accuracy not lower than champion by more than 0.5 points, 95 %",
            NotWorse(metric="accuracy", margin=0.005, worse="lower", confidence=0.95),
        ),
        ("loss not higher than champion by more than 0.01", NotWorse(metric="loss", margin=0.01, worse="higher")),
        ("loss not worse by 0.01", NotWorse(metric="loss", margin=0.01)),
        ("macro-F1 better", Better(metric="macro_f1")),
        (
            "field.intent better than the champion by 1 point, 90%",
            Better(metric="field.intent", by=0.01, confidence=0.9),
        ),
        ("no slice of 80 rows or more worse by 3 points", Slices(min_rows=80, margin=0.03)),
        ("no slice worse in macro F1 by 0.1", Slices(metric="macro_f1", margin=0.1)),
        ("p95 latency at most 1.2 times", AtMostRatio(metric="latency_p95_s", ratio=1.2)),
        ("size at most 2 times the champion's", AtMostRatio(metric="model_bytes", ratio=2)),
        ("accuracy at least 90 %", AtLeast(metric="accuracy", value=0.9)),
        ("accuracy at least 90 %, 99 %", AtLeast(metric="accuracy", value=0.9, confidence=0.99)),
        ("my.team:cost at most 3", AtMost(metric="my.team:cost", value=3)),
    ],
)
def test_a_clause_may_be_a_line_of_text(line, clause):
    assert GateConfig(clauses=[line]).clauses == [clause]


@pytest.mark.parametrize("line", ["accuracy", "accuracy not lower by 3 %", "accuracy not lower by 0", "better"])
def test_a_line_that_says_no_clear_thing_is_refused(line):
    with pytest.raises(ValidationError):
        GateConfig(clauses=[line])


def test_a_gate_in_run_yaml_is_read_and_written_back(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(RUN_YAML)
    gate = load_config(path).gate
    assert [clause.kind for clause in gate.clauses] == ["not_worse", "slices"]
    path.write_text(dump_config(load_config(path)))
    assert load_config(path).gate == gate


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("accuracy good", r"run\.yaml:6: found the clause 'accuracy good'; expected a form such as"),
        ("{kind: not_lower, metric: accuracy}", r"run\.yaml:6: .*found 'not_lower', expected one of 'not_worse'"),
        ("{kind: at_least, metric: accuracy, valu: 1}", r"run\.yaml:6: .*unknown key; did you mean value\?"),
    ],
)
def test_a_mistake_in_a_clause_is_named_with_its_line(tmp_path, written, told):
    path = tmp_path / "run.yaml"
    path.write_text(RUN_YAML.replace("accuracy not lower than champion by more than 0.5 points, 95 %", written))
    with pytest.raises(ConfigError, match=told):
        load_config(path)


@pytest.mark.parametrize("text", [RUN_YAML, "gate: {clauses: [accuracy better]}\n", "clauses: [accuracy better]\n"])
def test_a_gate_may_stand_in_a_file_of_its_own(tmp_path, text):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    assert load_gate(path).confidence == 0.95


def test_a_mistake_in_a_file_of_clauses_is_named_with_its_line(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("clauses:\n- accuracy better\n- {kind: at_lest, metric: loss, value: 1}\n")
    with pytest.raises(
        ConfigError, match=r"gate\.yaml:3: gate\.clauses\.1\.kind: found 'at_lest', .* did you mean at_least\?"
    ):
        load_gate(path)
    path.write_text("clauses: []\n")
    with pytest.raises(ConfigError, match=r"gate\.yaml:1: gate\.clauses"):
        load_gate(path)
