"""Rows that share a packed sequence never see each other: promise 2 of the design."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from tests.trainers.groups import tiny_config, tiny_llama
from trainers.data.encode import IGNORED
from trainers.objectives import build_objective

HAS_FLASH = torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None
ROWS = [5, 11, 3, 8, 13]
ATTENTION = [
    "sdpa",
    "eager",
    pytest.param("flash_attention_2", marks=pytest.mark.skipif(not HAS_FLASH, reason="needs a GPU and flash-attn")),
]


def rows() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, labels) of rows of different lengths, with masked beginnings."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for number, length in enumerate(ROWS):
        ids = torch.randint(0, 96, (length,), generator=generator)
        labels = ids.clone()
        labels[: 1 + number % 3] = IGNORED
        made.append((ids, labels))
    return made


def batch_of(groups: list[list[int]], weights: dict[int, float] | None = None) -> dict[str, torch.Tensor]:
    """Rows by number, packed into one sequence per group and padded as the collate does; a row weighs 1 unless said."""
    import pyarrow as pa

    from trainers.data.collate import CausalCollate

    made = rows()
    table = pa.table(
        {
            "input_ids": [torch.cat([made[row][0] for row in group]).tolist() for group in groups],
            "labels": [torch.cat([made[row][1] for row in group]).tolist() for group in groups],
            "row_lengths": [[len(made[row][0]) for row in group] for group in groups],
            "row_weights": [[(weights or {}).get(row, 1.0) for row in group] for group in groups],
        }
    )
    return CausalCollate(pad_token_id=0)(table)


def loss_and_gradient(
    attention: str, groups: list[list[int]], weights: dict[int, float] | None = None
) -> tuple[float, torch.Tensor, float]:
    model, objective = tiny_llama(attention), build_objective(tiny_config(1))
    if attention == "flash_attention_2":
        model = model.to("cuda", torch.bfloat16)
    objective.prepare(model)
    batch = {name: part.to(model.device) for name, part in batch_of(groups, weights).items()}
    loss, _ = objective.loss_sum(model, batch)
    loss.backward()
    gradient = model.model.layers[0].self_attn.q_proj.weight.grad
    return float(loss.detach()), gradient.float().cpu(), objective.num_units(batch)


@pytest.mark.parametrize("attention", ATTENTION)
def test_packed_loss_is_the_token_weighted_loss_of_the_rows_alone(attention: str) -> None:
    alone = [loss_and_gradient("sdpa", [[row]]) for row in range(len(ROWS))]
    packed = loss_and_gradient(attention, [[0, 1, 2], [3, 4]])
    assert packed[2] == sum(units for _, _, units in alone)
    half = attention == "flash_attention_2"  # a kernel for half precision only
    assert packed[0] == pytest.approx(sum(loss for loss, _, _ in alone), rel=2e-2 if half else 1e-5)
    wanted = sum(gradient for _, gradient, _ in alone)
    assert float((packed[1] - wanted).norm() / wanted.norm()) < (5e-2 if half else 1e-4)


def test_a_row_that_weighs_two_counts_as_the_row_twice() -> None:
    twice = loss_and_gradient("sdpa", [[0, 1, 2], [3, 4], [1], [3]])
    weighted = loss_and_gradient("sdpa", [[0, 1, 2], [3, 4]], {1: 2.0, 3: 2.0})
    assert weighted[2] == twice[2]
    assert weighted[0] == pytest.approx(twice[0], rel=1e-5)
    assert float((weighted[1] - twice[1]).norm() / twice[1].norm()) < 1e-4
    assert "weights" not in batch_of([[0, 1], [2]]), "rows that weigh 1 cost nothing"


def test_without_restarting_positions_rows_would_see_each_other() -> None:
    model, objective = tiny_llama(), build_objective(tiny_config(1))
    objective.prepare(model)
    batch = batch_of([[0, 1, 2, 3, 4]])
    apart, _ = objective.loss_sum(model, batch)
    leaking = batch | {"position_ids": torch.arange(batch["input_ids"].shape[1])[None]}
    together, _ = objective.loss_sum(model, leaking)
    assert abs(float(apart.detach()) - float(together.detach())) > 1e-2


def test_only_positions_that_carry_loss_reach_the_output_layer() -> None:
    model, objective = tiny_llama(), build_objective(tiny_config(1))
    objective.prepare(model)
    seen = []
    model.lm_head.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    batch = batch_of([[0, 1, 2], [3, 4]])
    objective.loss_sum(model, batch)
    assert seen == [(objective.num_units(batch), 32)]


def test_a_batch_without_loss_gives_zero_and_gradients_for_every_parameter() -> None:
    model, objective = tiny_llama(), build_objective(tiny_config(1))
    objective.prepare(model)
    batch = batch_of([[0]])
    loss, _ = objective.loss_sum(model, batch | {"labels": torch.full_like(batch["labels"], IGNORED)})
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(part.grad is not None and not part.grad.any() for part in model.parameters())
