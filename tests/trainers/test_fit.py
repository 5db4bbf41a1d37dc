"""From a run.yaml to a model folder, on real Ray Train workers: the adaptations, objectives and stops."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from cluster.config import EvaluateConfig
from cluster.config.load import load_config
from cluster.exceptions import ConfigError, ResourceError
from trainers.evaluation import evaluate_folder
from trainers.folder import ModelFolder

pytestmark = pytest.mark.usefixtures("ray_cluster")
INTENTS = {"card": "my card is lost", "rate": "what is the exchange rate", "top-up": "how do I add money"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chat rows and labelled texts."""
    folder = tmp_path_factory.mktemp("fit")
    chats = [
        {"messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"{n} " * (1 + n % 5)}]}
        for n in range(64)
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    lines = [f"{text} please number {n},{label}" for n in range(24) for label, text in INTENTS.items()]
    (folder / "train.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    held_out = [f"{text} please number {n + 30},{label}" for n in range(5) for label, text in INTENTS.items()]
    (folder / "test.csv").write_text("text,label\n" + "\n".join(held_out) + "\n")
    return folder


def run(folder: Path, name: str, config: dict) -> tuple:
    from trainers.fit import fit

    model = {"kind": "scratch", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 320}
    storage = {"storage_path": str(folder / "runs")}
    whole = {"name": name, "model": model, **config, "cluster": storage | config.get("cluster", {})}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole))
    rows: list[dict] = []
    return fit(load_config(path), listeners=[rows.append]), rows


def test_lora_under_zero3_learns_and_leaves_an_adapter_with_its_base(folder: Path) -> None:
    result, rows = run(
        folder,
        "lora",
        {
            "data": {"train": "chats.jsonl", "val_size": 0.2, "max_length": 64},
            "train": {
                "adaptation": {"kind": "lora", "rank": 4},
                "deepspeed": "zero3",
                "learning_rate": 1e-2,
                "per_device_train_batch_size": 2,
                "max_steps": 12,
                "eval_steps": 4,
                "logging_steps": 1,
                "gradient_checkpointing": True,
            },
            "cluster": {"num_workers": 2},
        },
    )
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0] - 0.3
    assert {"learning_rate", "tokens_per_s", "data_wait", "memory_gib", "eta_s"} <= rows[0].keys()
    folder_of_model = ModelFolder.open(result.model_path)
    assert folder_of_model.is_adapter and Path(folder_of_model.base or "").is_dir()
    assert folder_of_model.config is not None and folder_of_model.config.train.global_batch_size == 4
    tokenizer, model = folder_of_model.tokenizer(), folder_of_model.load()
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Say 3"}], return_tensors="pt", return_dict=True)
    assert model.generate(**ids, max_new_tokens=3).shape[1] > ids["input_ids"].shape[1]
    scored = evaluate_folder(
        folder_of_model, [str(folder / "chats.jsonl")], EvaluateConfig(max_rows=4, max_new_tokens=4)
    )
    assert len(scored.predictions) == 4 and scored.metrics["loss"] == pytest.approx(losses[-1], rel=0.5)
    assert not list(Path(result.model_path).rglob("*.bin")) + list(Path(result.model_path).rglob("*.pt"))


def test_a_decoder_learns_to_classify_and_its_test_rows_are_scored_once(folder: Path) -> None:
    result, _ = run(
        folder,
        "labels",
        {
            "data": {"train": "train.csv", "validation": "test.csv", "test": "test.csv", "max_length": 64},
            "train": {
                "objective": {"kind": "classification"},
                "learning_rate": 3e-3,
                "head_learning_rate": 1e-2,
                "num_train_epochs": 6,
                "per_device_train_batch_size": 6,
                "metric_for_best_model": "eval_accuracy",
            },
        },
    )
    assert ModelFolder.open(result.model_path).labels == sorted(INTENTS)
    assert result.metrics["eval_accuracy"] == result.metrics["test_accuracy"] == 1.0


def test_rows_go_through_their_stages_into_training_scores_and_the_model_folder(folder: Path) -> None:
    stages = [
        {"kind": "whitespace"},
        {"kind": "exact_duplicates"},
        {"kind": "split", "validation": 0.35, "test": 0.2},
        {"kind": "leak_check", "threshold": 0.99, "action": "note"},
        {"kind": "weights", "by": {"kind": "inverse_frequency"}},
    ]
    result, rows = run(
        folder,
        "staged",
        {
            "data": {"train": "train.csv", "stages": stages, "max_length": 64},
            "train": {"objective": {"kind": "classification"}, "max_steps": 2, "per_device_train_batch_size": 6},
        },
    )
    kept = {split: counts["rows"] for split, counts in result.data_report.items()}
    assert sum(kept.values()) == 72 and set(kept) == {"train", "validation", "test"}
    assert any("eval_loss" in row for row in rows)
    evaluation = json.loads((folder / "runs" / "staged" / "evaluation.json").read_text())
    assert evaluation["n"] == kept["test"], "the rows that the stage split held out were scored"
    model = Path(result.model_path)
    calibration = json.loads((model / "calibration.json").read_text())
    assert calibration["n"] == kept["validation"], "the rows that it held out for validation calibrate"
    [file] = json.loads((model / "lineage.json").read_text())["data"]["inputs"]["train"]
    assert file["name"].endswith("train.csv") and len(file["hash"]) == 32
    sheet = (model / "DATASHEET.md").read_text()
    assert file["hash"] in sheet and "| leak_check |" in sheet and "| train | " in sheet


def test_the_best_checkpoint_is_kept_and_a_run_that_gets_worse_stops_early(folder: Path) -> None:
    result, rows = run(
        folder,
        "overfits",
        {
            "data": {"train": "chats.jsonl", "validation": "chats.jsonl", "max_length": 64},
            "train": {
                "learning_rate": 0.5,  # so high that it only gets worse
                "warmup_ratio": 0.0,
                "lr_scheduler_type": "constant",
                "max_grad_norm": 0.0,
                "max_steps": 40,
                "eval_steps": 1,
                "early_stopping_patience": 3,
                "per_device_train_batch_size": 2,
            },
        },
    )
    evaluations = {row["step"]: row["eval_loss"] for row in rows if "eval_loss" in row}
    best = min(evaluations, key=lambda step: (evaluations[step], step))
    assert result.steps == best + 3 < 40
    assert result.metrics["best_step"] == best and result.metrics["eval_loss"] == evaluations[best]
    assert all(math.isfinite(loss) for loss in evaluations.values())


def test_a_sequence_longer_than_the_model_sees_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.max_length=4096 exceeds the 1024 positions"):
        run(folder, "long", {"data": {"train": "chats.jsonl", "max_length": 4096}})


def test_more_workers_than_the_cluster_has_are_refused(folder: Path) -> None:
    with pytest.raises(ResourceError, match="4"):
        run(folder, "many", {"data": {"train": "chats.jsonl"}, "cluster": {"num_workers": 64}})
