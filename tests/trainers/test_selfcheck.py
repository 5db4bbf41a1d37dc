"""The check at the start of every run catches workers that train apart."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.trainers.groups import run_group, tiny_config, tiny_llama, tokens_of_step


def refusals(rank: int, num_workers: int) -> dict[str, str]:
    """What each check says of workers that meet, of workers that were launched apart, and of broken averaging."""
    from trainers.selfcheck import check_workers_meet

    said = {"together": _said(lambda: check_workers_meet(num_workers, torch.device("cpu")))}
    said["launched apart"] = _said(lambda: check_workers_meet(num_workers + 1, torch.device("cpu")))
    for preset in ("zero0", "zero2", "zero3"):
        said[f"{preset} whole"] = _said(lambda preset=preset: _first_step(rank, num_workers, preset, broken=False))
        said[f"{preset} broken"] = _said(lambda preset=preset: _first_step(rank, num_workers, preset, broken=True))
    said["other weights"] = _said(lambda: _start_from_other_weights(rank, num_workers))
    return said


def _said(check) -> str:
    from cluster.exceptions import WorkersOutOfSync

    try:
        check()
    except WorkersOutOfSync as error:
        return str(error)
    return ""


def _engine(num_workers: int, preset: str):
    from trainers.engine import Engine
    from trainers.objectives import build_objective

    config = tiny_config(num_workers, deepspeed=preset, global_batch_size=2 * num_workers)
    model, objective = tiny_llama(), build_objective(config)
    objective.prepare(model)
    return Engine(model, config, num_workers, 5), objective


def _first_step(rank: int, num_workers: int, preset: str, broken: bool) -> None:
    """One step; broken, every worker's gradients replace those that the others sent."""
    from trainers.selfcheck import GradientWitness

    engine, objective = _engine(num_workers, preset)
    witness = GradientWitness(engine)
    batch = {name: part[2 * rank : 2 * rank + 2] for name, part in tokens_of_step(0).items()}
    collectives = _deafen() if broken else {}
    loss, _ = objective.loss_sum(engine.deepspeed, batch)
    engine.backward(loss, 40)
    for (module, name), original in collectives.items():
        setattr(module, name, original)
    try:
        witness.check()
    finally:
        engine.close()


def _deafen() -> dict:
    """Make the reductions that DeepSpeed uses for gradients keep what is the worker's own."""
    from deepspeed import comm

    def keep_own(tensor, *_, **__):
        return None

    def keep_own_part(output, tensor, *_, **__):
        output.copy_(tensor.view(dist.get_world_size(), -1)[dist.get_rank()].view_as(output))

    replaced = {"all_reduce": keep_own, "reduce": keep_own, "reduce_scatter_fn": keep_own_part}
    originals = {(comm, name): getattr(comm, name) for name in replaced}
    for name, replacement in replaced.items():
        setattr(comm, name, replacement)
    return originals


def _start_from_other_weights(rank: int, num_workers: int) -> None:
    from trainers.selfcheck import check_parameters_equal

    engine, _ = _engine(num_workers, "zero0")
    with torch.no_grad():
        next(engine.module.parameters()).add_(float(rank))
    try:
        check_parameters_equal(engine)
    finally:
        engine.close()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    return run_group(refusals, 2, tmp_path_factory.mktemp("group"))


def test_workers_that_meet_and_average_pass(said) -> None:
    for worker in said:
        assert worker["together"] == ""
        assert {preset: worker[f"{preset} whole"] for preset in ("zero0", "zero2", "zero3")} == {
            "zero0": "",
            "zero2": "",
            "zero3": "",
        }


def test_a_worker_that_was_launched_apart_is_refused(said) -> None:
    assert all("sees 2 worker(s), expected 3" in worker["launched apart"] for worker in said)


def test_other_weights_at_the_start_are_refused(said) -> None:
    assert all("hold different values of" in worker["other weights"] for worker in said)


@pytest.mark.parametrize("preset", ["zero0", "zero2", "zero3"])
def test_gradients_that_are_not_averaged_are_refused(said, preset: str) -> None:
    assert any("did not receive the average" in worker[f"{preset} broken"] for worker in said)
