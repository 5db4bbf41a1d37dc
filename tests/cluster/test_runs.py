"""A run directory belongs to one config, to one process at a time, and its record is the truth."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from cluster.config import RunConfig
from cluster.exceptions import RunConflict
from cluster.runs import Record, RunDirectory


def small_config(tmp_path, **train):
    return RunConfig.model_validate(
        {
            "name": "small",
            "model": {"kind": "scratch"},
            "data": {"train": "train.jsonl"},
            "train": train,
            "cluster": {"storage_path": str(tmp_path)},
        }
    )


def test_opening_writes_the_resolved_config(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    assert directory.storage.url == str(tmp_path / "small")
    assert directory.record() is None
    assert RunDirectory.find(str(tmp_path), "small").config == directory.config
    assert directory.config.train.global_batch_size == 8


def test_a_run_keeps_its_global_batch_when_the_worker_count_changes(tmp_path):
    config = small_config(tmp_path, gradient_accumulation_steps=2)
    RunDirectory.open(config)
    wider = config.model_copy(update={"cluster": config.cluster.model_copy(update={"num_workers": 2})})
    again = RunDirectory.open(wider).config
    assert (again.global_batch_size, again.accumulation_steps) == (16, 1)
    too_wide = config.model_copy(update={"cluster": config.cluster.model_copy(update={"num_workers": 3})})
    with pytest.raises(RunConflict, match="began with 16 sequences per step, which 3 workers"):
        RunDirectory.open(too_wide)


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path):
    RunDirectory.open(small_config(tmp_path, learning_rate=1e-3))
    with pytest.raises(RunConflict, match=r"train\.learning_rate: 0\.001 -> 0\.002.*another name.*--overwrite"):
        RunDirectory.open(small_config(tmp_path, learning_rate=2e-3))


def test_another_kind_of_model_is_refused(tmp_path):
    config = small_config(tmp_path)
    RunDirectory.open(config)
    other = RunConfig.model_validate(config.model_dump() | {"model": {"name_or_path": "a/b"}})
    with pytest.raises(RunConflict, match=r"model\.kind: scratch -> pretrained"):
        RunDirectory.open(other)


def test_keys_that_do_not_change_the_model_may_change(tmp_path):
    config = small_config(tmp_path)
    RunDirectory.open(config)
    changed = config.model_dump() | {"serve": {"port": 9000}, "evaluate": {"batch_size": 1}}
    changed["cluster"] |= {"max_failures": 3}
    changed["train"] |= {"logging_steps": 1, "save_total_limit": 5}
    RunDirectory.open(RunConfig.model_validate(changed))


def test_overwriting_starts_anew(tmp_path):
    first = RunDirectory.open(small_config(tmp_path, learning_rate=1e-3))
    first.storage.write_text("checkpoints/step-1/x", "old")
    second = RunDirectory.open(small_config(tmp_path, learning_rate=2e-3), overwrite=True)
    assert second.storage.list() == ["run.yaml"]


def test_a_record_is_read_back_as_written(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    record = Record("running").finished(metrics={"eval_loss": 0.5}, version=3, model_path="/m", steps=7)
    directory.write_record(record)
    assert directory.record() == record
    assert record.finished_at is not None
    assert Record("running").failed("no disk").error == "no disk"


def test_a_half_written_metrics_line_is_left_out(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    directory.storage.write_text("metrics.jsonl", json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert directory.metrics() == [{"step": 1}]


def test_a_run_has_one_writer_at_a_time(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    with directory.lease():
        assert directory.is_active()
        with pytest.raises(RunConflict, match=f"being written by process {os.getpid()} on {socket.gethostname()}"):
            directory.lease().__enter__()
        with pytest.raises(RunConflict, match="being written by"):
            RunDirectory.open(small_config(tmp_path), overwrite=True)
    assert not directory.is_active()
    with directory.lease():
        pass


def test_of_many_that_start_at_once_one_gets_the_run(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    start, outcomes = threading.Barrier(8), []

    def try_it():
        start.wait()
        try:
            with directory.lease():
                time.sleep(0.3)
            outcomes.append("held")
        except RunConflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held"] + ["refused"] * 7


def test_the_lease_of_a_killed_process_does_not_block(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    code = (
        "import os, signal, sys; from cluster.runs import RunDirectory\n"
        "lease = RunDirectory.find(sys.argv[1], 'small').lease(); lease.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert directory.storage.exists("lease.json")
    with directory.lease():
        pass


def test_the_lease_of_another_machine_holds_while_it_beats(tmp_path):
    directory = RunDirectory.open(small_config(tmp_path))
    lease = {"token": "t", "host": "elsewhere", "pid": 1, "process_start_unix_s": 0.0}
    directory.storage.write_json("lease.json", lease | {"beat_unix_s": time.time() - 5})
    assert directory.is_active()
    directory.storage.write_json("lease.json", lease | {"beat_unix_s": time.time() - 500})
    assert not directory.is_active()


def test_a_run_that_does_not_exist_gets_a_suggestion(tmp_path):
    RunDirectory.open(small_config(tmp_path))
    with pytest.raises(RunConflict, match=r"has no run 'smal' \(it holds small\); did you mean small\?"):
        RunDirectory.find(str(tmp_path), "smal")
