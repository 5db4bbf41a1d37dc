"""Claims about training and comparing the variants of a run, with a training that only makes a folder."""

import pytest

from cluster.config import CompareConfig, EvaluateConfig
from cluster.config.data import as_sources
from cluster.config.load import load_variants
from tests.trainers.evaluation.tiny_folders import ANSWERS, LABELS, classifying_folder, write_jsonl
from trainers.evaluation.compare import compare
from trainers.evaluation.compare_variants import score_variants

RUN_YAML = """\
name: desk
model: {kind: scratch}
data: {train: rows.jsonl, test: rows.jsonl}
train: {objective: {kind: classification}}
compare:
  variants: {plain: {}, warm: {train.learning_rate: 1e-3}}
"""


@pytest.fixture
def started(tmp_path):
    rows = [{"text": f"{text} {at}", "label": LABELS[text.split()[0]]} for at in range(4) for text in ANSWERS]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    (tmp_path / "run.yaml").write_text(f"{RUN_YAML}cluster: {{storage_path: {tmp_path / 'runs'}}}\n")
    return tmp_path / "run.yaml", as_sources(data)


def test_each_variant_is_trained_once_and_scored_on_the_same_rows(ray_cluster, started, tmp_path):
    path, data = started
    trained = []

    def train(config):
        trained.append((config.name, config.train.learning_rate))
        return str(classifying_folder(tmp_path / config.name).path)

    settings = EvaluateConfig(seen_rows="flag", num_resamples=200)
    sides = score_variants(load_variants(path), data, settings, train=train)
    assert trained == [("desk-plain", 2e-5), ("desk-warm", 1e-3)]
    assert [(side.name, side.seeds, side.where) for side in sides] == [
        ("plain", (0,), ["desk-plain"]),
        ("warm", (0,), ["desk-warm"]),
    ]
    found = compare(sides, CompareConfig(num_resamples=200))
    assert (found.n, found.of("accuracy").verdict) == (16, "no difference shown")
