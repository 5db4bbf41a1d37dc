"""`mobula init`: a starter run.yaml with sample data, ready for `mobula train`."""

import json
from pathlib import Path

import click

from cluster.exceptions import UserError

_HEADER = """\
# One file describes the whole life of a model. `mobula schema` lists every key, `mobula check run.yaml`
# says whether it would run here. Any key can be overridden: mobula train run.yaml train.learning_rate=1e-3
name: {name}

model:
  # A small model with fresh weights, so that this file runs anywhere. To fine-tune a real one, replace this
  # section by its Hub id or folder:
  #   name_or_path: Qwen/Qwen3-0.6B
  kind: scratch
"""

_TEMPLATES = {
    "sft": """
data:
  train: data/train.jsonl # JSONL, JSON, CSV, Parquet, text, `datasets` folders, Hub ids
  validation: data/validation.jsonl # scored during training; picks the best checkpoint
  test: data/test.jsonl # scored once, afterwards
  max_length: 256 # longer rows are cut, counted and reported
  packing: true # several rows per sequence; they never see each other

train:
  objective: {kind: sft} # loss on the assistant's answers
  adaptation: {kind: full} # or {kind: lora, rank: 16}
  num_train_epochs: 2
  per_device_train_batch_size: 8
  learning_rate: 2e-3 # fresh weights; for a pretrained model take about 2e-5 (full) or 2e-4 (LoRA)
  logging_steps: 5
""",
    "classification": """
data:
  train: data/train.jsonl # rows with `text` and `label`
  validation: data/validation.jsonl # scored during training; picks the best checkpoint
  test: data/test.jsonl # scored once, afterwards
  max_length: 128 # longer rows are cut, counted and reported

train:
  objective: {kind: classification} # one label per text; the labels are read off the data
  adaptation: {kind: full} # or {kind: lora, rank: 16}
  num_train_epochs: 2
  per_device_train_batch_size: 16
  learning_rate: 1e-3 # fresh weights; for a pretrained encoder take about 5e-5
  logging_steps: 5
  metric_for_best_model: eval_accuracy
""",
}

_FOOTER = """
serve:
  port: 8000

cluster:
  num_workers: 1 # training processes; one GPU each, where there are GPUs
  # address: auto # join a running Ray cluster instead of starting one on this machine
  # storage_path: s3://bucket/runs # default: ./runs
"""


@click.command()
@click.argument("folder", default="my-run", type=click.Path(file_okay=False, path_type=Path))
@click.option("--template", type=click.Choice(list(_TEMPLATES)), default="sft", show_default=True)
def command(folder: Path, template: str) -> None:
    """Write FOLDER/run.yaml, explained line by line, and sample data that it trains on."""
    target = folder / "run.yaml"
    if target.exists():
        raise UserError(f"{target} exists already; name another folder, or delete it first")
    _write_sample_data(folder / "data", template)
    name = "".join(letter if letter.isalnum() else "-" for letter in folder.resolve().name).strip("-") or "my-run"
    target.write_text(_HEADER.format(name=name) + _TEMPLATES[template] + _FOOTER, encoding="utf-8")
    click.echo(target)
    click.echo(f"Train it with: mobula train {target}", err=True)


def _write_sample_data(folder: Path, template: str) -> None:
    """Messages to a support desk; for classification, with the intent as label."""
    from trainers.quickstart.support_desk import write_files

    files = write_files(folder, train=600, validation=60, test=60, unseen=1)
    files.unseen.unlink()
    if template == "sft":
        return
    for path in (files.train, files.validation, files.test):
        rows = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
        labelled = [{"text": row[-2]["content"], "label": json.loads(row[-1]["content"])["intent"]} for row in rows]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in labelled), encoding="utf-8")
