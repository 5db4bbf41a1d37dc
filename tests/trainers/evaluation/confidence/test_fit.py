"""Claims about calibrating a model folder: on validation rows, never on rows that were learnt or are tested on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.cli import run
from cluster.config import EvaluateConfig
from cluster.config.load import dump_config, load_config
from cluster.exceptions import ConfigError, DataError
from cluster.storage import Storage
from tests.trainers.evaluation import tiny_folders
from trainers.data.shapes import LabelledText
from trainers.evaluation import evaluate_folder
from trainers.evaluation.confidence import load_calibration
from trainers.evaluation.confidence.calibration import FILE
from trainers.evaluation.confidence.features import Featuriser
from trainers.evaluation.confidence.fit import calibrate_folder, calibrate_run
from trainers.evaluation.confidence.rows_of_run import drawn_rows, plain_texts, sampled
from trainers.evaluation.exchange import row_key
from trainers.folder import ModelFolder

THINGS = ("lamp", "watch", "tablet")
WORDS = tuple(tiny_folders.LABELS)


def labelled(number: int, start: int = 0) -> list[dict]:
    """Different texts, each with the label of its first word."""
    return [
        {"text": f"{WORDS[at % 3]} the {THINGS[at % 2]} number {at}", "label": tiny_folders.LABELS[WORDS[at % 3]]}
        for at in range(start, start + number)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of a run, and the run.yaml that names them."""
    path = tmp_path_factory.mktemp("data")
    for name, (number, start) in {"train": (60, 0), "validation": (60, 100), "test": (40, 200)}.items():
        tiny_folders.write_jsonl(path / f"{name}.jsonl", labelled(number, start))
    tiny_folders.write_jsonl(path / "elsewhere.jsonl", [{"text": f"zebra {at} !!"} for at in range(30)])
    (path / "run.yaml").write_text(
        "name: desk\nmodel: {name_or_path: some/encoder}\n"
        "data: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}\n"
        "train: {objective: {kind: classification}}\n"
        "evaluate: {batch_size: 16}\n"
    )
    return path


@pytest.fixture
def folder(data, tmp_path) -> ModelFolder:
    made = tiny_folders.classifying_folder(tmp_path / "model")
    (made.path / "run.yaml").write_text(dump_config(load_config(data / "run.yaml")))
    return ModelFolder.open(made.path)


def scratch(tmp_path) -> Storage:
    return Storage.open(tmp_path / "scratch")


def test_validation_rows_calibrate_and_test_rows_are_judged(ray_cluster, folder, data, tmp_path, capsys):
    assert run(["evaluate", str(folder.path), "--calibrate", "--json", "--storage-path", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    calibration = load_calibration(folder.path, folder.labels)
    assert (said["n"], said["fitted_on"]["fingerprint"]) == (60, calibration.fingerprint)
    elsewhere = EvaluateConfig.model_validate({"calibration": {"ood_data": str(data / "elsewhere.jsonl")}})
    result = evaluate_folder(folder, [str(data / "test.jsonl")], elsewhere)
    section = result.sections["calibration"]
    assert section["calibrator"]["fitted_on"]["fingerprint"] == calibration.fingerprint
    assert section["refused"] is None
    expected = calibration(np.array([one.logits for one in result.predictions]))
    sure = expected[np.arange(40), [int(np.argmax(one.logits)) for one in result.predictions]]
    assert section["calibrated"]["mean_confidence"] == pytest.approx(sure.mean())
    assert set(result.sections["ood"]["scores"]) == {"energy", "max_softmax", "mahalanobis"}
    assert result.sections["conformal"]["rows"] == 40


def test_the_runs_test_rows_are_refused(ray_cluster, folder, data, tmp_path, capsys):
    assert run(["evaluate", str(folder.path), "--calibrate", "--data", str(data / "test.jsonl")]) == 2
    assert "100% of these rows are test rows of the run" in capsys.readouterr().err
    assert not (folder.path / FILE).exists()


def test_rows_that_were_learnt_from_are_refused(ray_cluster, folder, data, tmp_path):
    examples = [LabelledText(row["text"], row["label"]) for row in labelled(60)]
    keys = [int(row_key(one)[:16], 16) for one in examples]
    np.savez(folder.path / "seen_rows.npz", train=np.array(keys, np.uint64))
    with pytest.raises(DataError, match="learnt from 60 of these 60 rows"):
        calibrate_folder(folder, [str(data / "train.jsonl")], scratch=scratch(tmp_path))


def test_a_folder_without_validation_rows_says_what_to_give_it(classifying_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no validation rows .* data\.validation or data\.val_size"):
        calibrate_folder(classifying_folder, scratch=scratch(tmp_path))


def test_a_training_ends_well_though_its_validation_rows_are_too_few(ray_cluster, folder, tmp_path, caplog):
    rows = tiny_folders.write_jsonl(tmp_path / "few.jsonl", labelled(5, 300))
    evaluate = EvaluateConfig.model_validate({"calibration": {"data": rows}})
    model = Storage.open(folder.path)
    assert calibrate_run(folder, model, evaluate, scratch(tmp_path)) is None
    assert "5 rows are too few to calibrate on" in caplog.text
    off = EvaluateConfig.model_validate({"calibration": {"data": rows, "after_training": False}})
    assert calibrate_run(folder, model, off, scratch(tmp_path)) is None
    assert not (folder.path / FILE).exists()


def test_rows_held_out_of_the_training_rows_are_drawn_by_content_and_cleared_away(data, tmp_path):
    config = load_config(data / "run.yaml", ["data.validation=null", "data.val_size=0.5"])
    train = str(data / "train.jsonl")
    with drawn_rows([train], config.data, 0.5, 1_000, scratch(tmp_path)) as [source]:
        held_out = [json.loads(line)["text"] for line in Path(source.path).read_text().splitlines()]
    learnt = sampled(config, "train", 1_000).texts
    assert len(held_out) + len(learnt) == 60
    assert not set(held_out) & set(learnt)
    assert list((tmp_path / "scratch").iterdir()) == []
    with drawn_rows([train], config.data, 1.0, 1_000, scratch(tmp_path)) as specs:
        assert specs == [train]


def test_a_sample_is_fair_and_no_larger_than_asked(data):
    config = load_config(data / "run.yaml")
    found = sampled(config, "train", 10, seed=1)
    assert (len(found), found.total) == (10, 60)
    drawn = [text for seed in range(60) for text in sampled(config, "train", 10, seed).texts]
    times = [drawn.count(row["text"]) for row in labelled(60)]
    assert min(times) > 1
    assert max(times) < 25
    assert plain_texts(str(data / "elsewhere.jsonl"), config.data, 5, seed=2)[0].startswith("zebra")


def test_features_are_what_the_head_is_given(folder):
    featuriser = Featuriser(folder, batch_size=2)
    texts = ["refund the lamp", "where is it", "cancel cancel cancel my watch"]
    seen = featuriser.see(texts)
    weight = featuriser.model.score.weight.detach().numpy()
    np.testing.assert_allclose(seen.features @ weight.T, seen.logits, atol=1e-4)
    tokenizer, model = folder.tokenizer(), folder.load()
    for text, logits in zip(texts, seen.logits, strict=True):
        with torch.inference_mode():
            alone = model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
        np.testing.assert_allclose(logits, alone, atol=1e-4)


def test_features_of_a_causal_model_are_the_mean_of_its_last_states(answering_folder):
    featuriser = Featuriser(answering_folder)
    seen = featuriser.see(["refund the lamp", "where"])
    ids = answering_folder.tokenizer()("refund the lamp", return_tensors="pt")
    with torch.inference_mode():
        states = featuriser.model(**ids, output_hidden_states=True).hidden_states[-1][0]
    np.testing.assert_allclose(seen.features[0], states.mean(0).numpy(), atol=1e-4)
    assert seen.logits.shape == (2, 0)
