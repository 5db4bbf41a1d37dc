"""The command line: quick where nothing heavy is asked, honest in its exit status."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cluster import cli
from cluster.config import RunConfig
from cluster.exceptions import CheckpointError, DataError
from cluster.runs import Record, RunDirectory

ROOT = Path(cli.__file__).parents[2]


def mobula(*arguments, cwd=ROOT, **variables):
    """The real command in its own process."""
    return subprocess.run(
        [sys.executable, "-c", "from cluster.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run(*arguments):
    """The command in this process, for what needs no fresh interpreter."""
    return cli.run([str(one) for one in arguments])


@pytest.fixture
def bad_config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: x\nmodel: {kind: scratch}\ndata: {train: a.jsonl}\ntrain: {learning_rat: 1}\n")
    return path


QUICK = [["--help"], ["train", "--help"], ["init", "--help"], ["--version"], ["train", "CONFIG"], ["serve", "CONFIG"]]


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_help_and_a_bad_config_answer_at_once_without_torch_or_ray(arguments, bad_config):
    arguments = [str(bad_config) if one == "CONFIG" else one for one in arguments]
    code = (
        "import sys; from cluster import cli\n"
        "status = cli.run(sys.argv[1:])\n"
        "heavy = {'torch', 'ray', 'transformers', 'mlflow', 'vllm', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "AssertionError" not in done.stderr, done.stderr
    assert done.returncode == (2 if str(bad_config) in arguments else 0), done.stderr
    # Time on the processor: what else the machine does at the moment is not what is measured.
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1.0


def test_a_bad_config_is_one_sentence_on_stderr_and_status_2(bad_config):
    done = mobula("train", bad_config)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"mobula: {bad_config}:4: train.learning_rat: unknown key; did you mean learning_rate?\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "no command 'trian'; did you mean 'train'?"),
        (["train"], "Missing argument 'CONFIG'"),
        (["train", "x.yaml", "--fast"], "No such option"),
        (["train", "nothing.yaml"], "nothing.yaml: there is no such file"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(arguments, sentence, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.fixture
def failing_with(monkeypatch):
    """Make `mobula schema` raise what the test wants."""

    def prepare(error):
        @click.command()
        def command():
            raise error

        monkeypatch.setattr("cluster.cli.schema.command", command)

    return prepare


def test_a_mistake_of_the_user_inside_a_worker_is_told_like_any_other(failing_with, capsys):
    from ray.exceptions import RayTaskError
    from ray.train.v2.api.exceptions import WorkerGroupError

    wrapped = RayTaskError("work", "a long traceback", DataError("train.jsonl:3: is not JSON")).as_instanceof_cause()
    failing_with(WorkerGroupError("worker 0 failed", {0: wrapped}))
    assert run("schema") == 2
    assert capsys.readouterr().err == "mobula: train.jsonl:3: is not JSON\n"


def test_our_own_failures_exit_1_and_leave_the_traceback_in_a_file(failing_with, capsys):
    failing_with(CheckpointError("step 3 lacks a file"))
    assert run("schema") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "mobula: step 3 lacks a file"
    log = Path(second.removeprefix("The full story is in "))
    assert "Traceback" in log.read_text()
    log.unlink()


def test_an_unexpected_error_is_one_line_unless_the_traceback_is_asked_for(failing_with, capsys, monkeypatch):
    failing_with(ZeroDivisionError("division by zero"))
    assert run("schema") == 1
    assert "mobula: ZeroDivisionError: division by zero" in capsys.readouterr().err
    monkeypatch.setenv("MOBULA_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("schema")


def test_ctrl_c_exits_130_quietly(failing_with, capsys):
    failing_with(KeyboardInterrupt())
    assert run("schema") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_output_into_a_pipe_that_closes_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -c 'from cluster.cli import main; main()' schema | head -1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("template", ["sft", "classification"])
def test_a_starter_config_passes_its_own_check(template, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("init", "desk", "--template", template) == 0
    assert capsys.readouterr().out.strip() == "desk/run.yaml"
    assert run("check", "desk/run.yaml", "--json") == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["ok"]
    assert {"what": "data", "ok": True, "found": "train 600 rows, validation 60 rows, test 60 rows can be read"} in (
        findings["findings"]
    )
    assert run("init", "desk") == 2


def test_check_names_everything_that_would_stop_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("init", "desk")
    (tmp_path / "desk" / "data" / "train.jsonl").write_text('{"messages": [\n')
    capsys.readouterr()
    overrides = ["cluster.num_workers=4096", f"cluster.storage_path={tmp_path / 'desk' / 'run.yaml'}"]
    assert run("train", "desk/run.yaml", *overrides, "--dry-run", "--json") == 2
    refused = {one["what"]: one["found"] for one in json.loads(capsys.readouterr().out)["findings"] if not one["ok"]}
    assert set(refused) == {"data", "workers", "storage"}
    assert "train.jsonl:1" in refused["data"]
    assert "a file is in the way" in refused["storage"]
    assert "set cluster.num_workers=" in refused["workers"]


def test_the_schema_describes_every_key(capsys):
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert schema["$defs"]["TrainConfig"]["properties"]["learning_rate"]["description"] == "Peak learning rate."


@pytest.fixture
def finished_run(tmp_path):
    config = RunConfig.model_validate(
        {
            "name": "desk",
            "model": {"kind": "scratch"},
            "data": {"train": "train.jsonl"},
            "cluster": {"storage_path": str(tmp_path / "runs")},
        }
    )
    directory = RunDirectory.open(config)
    directory.storage.append_text("metrics.jsonl", '{"step": 5, "loss": 0.5}\n{"step": 10, "loss": 0.25}\n')
    directory.write_record(Record("running").finished(steps=10, metrics={"eval_loss": 0.125}, version=1))
    return directory


def test_status_tells_how_a_run_ended(finished_run, tmp_path, capsys):
    assert run("status", "desk", "--storage-path", tmp_path / "runs", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["steps"], told["version"]) == ("finished", 10, 1)
    assert told["metrics"] == {"eval_loss": 0.125}
    assert run("status", tmp_path / "runs" / "desk") == 0
    assert "finished" in capsys.readouterr().out
    assert run("status", "--storage-path", tmp_path / "runs") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["desk", "finished", "10"]


def test_a_run_without_a_living_writer_counts_as_interrupted(finished_run, tmp_path, capsys):
    finished_run.write_record(Record("running"))
    run("status", "desk", "--storage-path", tmp_path / "runs", "--json")
    assert json.loads(capsys.readouterr().out)["state"] == "interrupted"
    with finished_run.lease():
        run("status", "desk", "--storage-path", tmp_path / "runs", "--json")
    assert json.loads(capsys.readouterr().out)["state"] == "running"


def test_logs_show_the_last_rows_the_log_files_and_the_error(finished_run, tmp_path, capsys):
    finished_run.storage.write_text("logs/worker-0.log", "one\ntwo\n")
    finished_run.storage.write_text("logs/ray_train/marker", "")
    finished_run.write_record(Record("running").failed("no disk"))
    assert run("logs", "desk", "--storage-path", tmp_path / "runs", "-n", 1) == 0
    assert capsys.readouterr().out == "step=10  loss=0.25\n--- logs/worker-0.log\ntwo\nerror: no disk\n"


def test_models_lists_versions_and_moves_aliases(tmp_path, capsys):
    from cluster.registry import Registry

    storage = str(tmp_path / "runs")
    for number in (1, 2):
        Registry(storage).register("desk", f"/models/{number}", metrics={"eval_loss": 1 / number})
    assert run("models", "--storage-path", storage, "set-alias", "desk", 2, "champion") == 0
    assert capsys.readouterr().out == "models:/desk@champion is version 2: /models/2\n"
    assert run("models", "--storage-path", storage, "--json") == 0
    assert [one["aliases"] for one in json.loads(capsys.readouterr().out)] == [[], ["champion"]]
