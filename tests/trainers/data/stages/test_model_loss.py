"""What rows cost a model is what the model itself says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.config.stages.select import ModelLossStage
from tests.trainers.groups import tiny_llama
from trainers.data.record import Record
from trainers.data.stages import StageContext, build_stage
from trainers.data.staging import run_stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(folder)
    tiny_llama(vocabulary=len(tokenizer)).save_pretrained(folder)
    return folder


def chat(question: str, answer: str) -> Record:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Record({"messages": turns}, place=question)


def test_the_note_is_the_mean_loss_of_the_answer_under_the_model(folder: Path, tokenizer: Any) -> None:
    stage = build_stage(ModelLossStage(model=str(folder), batch_size=2), StageContext())
    rows = [
        chat("Who are you?", "A small model."),
        chat("Where?", "On Monday it was shipped, and soon."),
        chat("Hm?", "Yes."),
    ]
    noted = [row.notes["model_loss"] for row in run_stage(stage, rows)]
    model = tiny_llama(vocabulary=len(tokenizer)).eval()
    for row, loss in zip(rows, noted, strict=True):
        [ids] = tokenizer.apply_chat_template([row.row["messages"]], tokenize=True, return_dict=True)["input_ids"]
        asked = tokenizer.apply_chat_template([row.row["messages"][:1]], add_generation_prompt=True, return_dict=True)
        given = len(asked["input_ids"][0])
        ids = ids[
            : len(ids) - ids[::-1].index(tokenizer.convert_tokens_to_ids("<|im_end|>"))
        ]  # what follows is no answer
        with torch.inference_mode():
            said = model(torch.tensor([ids])).logits[0, given - 1 : -1].log_softmax(-1)
        wanted = -said[range(len(ids) - given), ids[given:]].mean()
        assert loss == pytest.approx(float(wanted), abs=1e-4)


def test_rows_of_other_splits_are_left_alone(folder: Path) -> None:
    stage = build_stage(ModelLossStage(model=str(folder)), StageContext())
    row = chat("Who are you?", "A small model.")
    row.split = "test"
    assert run_stage(stage, [row])[0].notes == {}
