"""Versions of a model and the aliases that say which one takes traffic; MLflow behind both, training in front."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import tracking
from cluster.config import RunConfig
from cluster.exceptions import RegistryError
from cluster.registry import Registry
from cluster.tracking import Tracker, mlflow_client


@pytest.fixture(scope="module")
def storage_url(tmp_path_factory):
    return str(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def config(storage_url):
    return RunConfig.model_validate(
        {
            "name": "tracked",
            "model": {"kind": "scratch"},
            "data": {"train": "train.jsonl"},
            "cluster": {"storage_path": storage_url},
        }
    )


def test_looking_into_an_empty_registry_makes_no_database(tmp_path):
    assert Registry(str(tmp_path)).names() == []
    assert list(tmp_path.iterdir()) == []


def test_the_first_version_is_champion_and_later_ones_challenge(storage_url):
    registry = Registry(storage_url)
    first = registry.register("desk", "/models/1", metrics={"eval_loss": 0.5}, tags={"fingerprint": "abc"})
    second = registry.register("desk", "/models/2")
    third = registry.register("desk", "/models/3")
    assert (first, second, third) == (1, 2, 3)
    assert registry.resolve("models:/desk@champion") == "/models/1"
    assert registry.resolve("models:/desk@challenger") == "/models/3"
    assert registry.resolve("models:/desk/2") == "/models/2"
    versions = registry.versions("desk")
    assert [version.aliases for version in versions] == [["champion"], [], ["challenger"]]
    assert versions[0].metrics == {"eval_loss": 0.5}
    assert versions[0].tags == {"fingerprint": "abc"}


def test_an_alias_moves(storage_url):
    registry = Registry(storage_url)
    for number in (1, 2):
        registry.register("moving", f"/models/{number}")
    registry.set_alias("moving", 2, "champion")
    assert registry.resolve("models:/moving@champion") == "/models/2"
    assert registry.version("models:/moving/1").aliases == []


def test_what_is_not_registered_is_answered_with_what_is(storage_url):
    registry = Registry(storage_url)
    registry.register("known", "/models/1")
    with pytest.raises(RegistryError, match=r"no model 'knwon'.*did you mean known\?"):
        registry.resolve("models:/knwon@champion")
    with pytest.raises(RegistryError, match=r"known has no version 7; it has versions 1 \(champion\)"):
        registry.resolve("models:/known/7")
    with pytest.raises(RegistryError, match=r"known has no alias 'best'"):
        registry.resolve("models:/known@best")
    with pytest.raises(RegistryError, match=r"names no version; write models:/NAME@champion"):
        registry.resolve("models:/known")
    with pytest.raises(RegistryError, match=r"known has no version 9"):
        registry.set_alias("known", 9, "champion")
    with pytest.raises(RegistryError, match=r"must be a word"):
        registry.set_alias("known", 1, "v1")


def test_many_threads_share_one_client(storage_url):
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: mlflow_client(storage_url), range(8)))
    assert len(set(map(id, clients))) == 1


def test_a_tracked_run_has_its_params_curves_and_files(config, storage_url, tmp_path):
    (tmp_path / "report.html").write_text("<p>")
    tracker = Tracker(storage_url)
    tracker.start(config, {"fingerprint": "abc"})
    for step in range(3):
        tracker.log_metrics({"loss": 1.0 / (step + 1), "note": "words are left out"}, step)
    tracker.finish("finished", {"eval_loss": 0.25}, {"report.html": tmp_path / "report.html"})
    client = mlflow_client(storage_url)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.learning_rate"] == str(config.train.learning_rate)
    assert run.data.tags["fingerprint"] == "abc"
    assert [(point.step, point.value) for point in client.get_metric_history(tracker.run_id, "loss")] == [
        (0, 1.0),
        (1, 0.5),
        (2, pytest.approx(1 / 3)),
    ]
    assert run.data.metrics["final/eval_loss"] == 0.25
    assert [file.path for file in client.list_artifacts(tracker.run_id)] == ["report.html"]
    assert run.info.artifact_uri.startswith(storage_url)


def test_tracking_that_cannot_work_costs_one_warning_and_no_time(config, tmp_path, caplog):
    (tmp_path / "mlflow.db").write_bytes(b"this is no SQLite file" * 100)
    tracker = Tracker(str(tmp_path))
    start = time.perf_counter()
    tracker.start(config)
    for step in range(1000):
        tracker.log_metrics({"loss": 1.0}, step)
    assert time.perf_counter() - start < 0.5
    tracker.finish("failed")
    assert len([one for one in caplog.records if one.name == tracking.__name__]) == 1
    assert "the run goes on" in caplog.text


def test_the_database_is_an_ordinary_mlflow_one(storage_url):
    with sqlite3.connect(f"{storage_url}/mlflow.db") as database:
        tables = {row[0] for row in database.execute("select name from sqlite_master where type = 'table'")}
    assert {"runs", "metrics", "model_versions", "registered_model_aliases"} <= tables
