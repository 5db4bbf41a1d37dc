"""Claims about evaluations that are killed, and that are asked for again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.config import EvaluateConfig
from tests.trainers.evaluation.stub_endpoint import StubEndpoint
from tests.trainers.evaluation.tiny_folders import ANSWERS, LABELS, conversation, write_jsonl
from trainers.evaluation import How, evaluate_subject
from trainers.evaluation.metrics import METRICS, Metric
from trainers.evaluation.store import EVALUATIONS, EvaluationDirectory
from trainers.evaluation.subjects import FolderSubject
from trainers.evaluation.subjects.endpoint import EndpointSubject

pytestmark = pytest.mark.usefixtures("ray_cluster")
ROOT = Path(__file__).resolve().parents[3]
WRITE_AT_ONCE = "import trainers.evaluation.evaluate as e; e.KEEP_EVERY_S = 0; from cluster.cli import main; main()"


def labelled(path: Path, number: int) -> str:
    texts = list(ANSWERS)
    rows = [{"text": f"{texts[n % 4]} {n}", "label": LABELS[texts[n % 4].split()[0]]} for n in range(number)]
    return write_jsonl(path / "rows.jsonl", rows)


def evaluation_in(storage: Path) -> EvaluationDirectory | None:
    found = [one for one in (storage / EVALUATIONS).glob("*") if one.name != "looks"]
    return EvaluationDirectory.of(storage, found[0].name) if found else None


def kill_when_rows_are_kept(arguments: list[str], storage: Path) -> dict:
    """Run `mobula evaluate` in a process of its own, and kill that and all it started once some rows are kept."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AT_ONCE, "evaluate", *arguments, "--storage-path", str(storage)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    family = []
    try:
        deadline = time.monotonic() + 240
        while not ((directory := evaluation_in(storage)) and len(directory.predictions()) >= 3):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            family = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        for one in [process, *family]:
            try:
                one.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
    return directory.predictions()


def test_a_killed_evaluation_goes_on_with_the_rows_that_are_left(classifying_folder, tmp_path):
    data, storage = labelled(tmp_path, 600), tmp_path / "runs"
    folder = str(classifying_folder.path)
    kept = kill_when_rows_are_kept([folder, "--data", data, "--batch-size", "1"], storage)
    assert 0 < len(kept) < 600
    assert evaluation_in(storage).summary() is None
    result = evaluate_subject(FolderSubject(classifying_folder), [data], how=How(str(storage)))
    assert result.n == 600 and [int(one.place.rsplit(":", 1)[1]) for one in result.predictions] == list(range(1, 601))
    parts = evaluation_in(storage).parts()
    assert sum(len(part.orders) for part in parts) == 600, "rows were scored twice"
    whole = evaluate_subject(FolderSubject(classifying_folder), [data])
    assert result.metrics == pytest.approx(whole.metrics)


def test_answers_paid_for_before_a_kill_are_not_asked_for_again(tmp_path):
    rows = [{"messages": conversation(f"word {n}", f"WORD {n}")} for n in range(60)]
    data, storage = write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "runs"
    with StubEndpoint(delay_s=0.4) as stub:
        settings = EvaluateConfig(endpoint={"concurrency": 2})
        kept = kill_when_rows_are_kept([stub.url, "--data", data, "evaluate.endpoint.concurrency=2"], storage)
        before = len(stub.asked)
        assert before < 60
        stub.delay_s = 0.0
        subject = EndpointSubject(stub.url, None, settings.endpoint)
        result = evaluate_subject(subject, [data], settings, how=How(str(storage)))
        assert result.metrics["exact_match"] == 1.0 and result.n == 60
        assert len(stub.asked) - before == 60 - len(kept)
        assert before - len(kept) <= 6, "more answers were lost than were under way"


class Counting:
    """A metric whose notes cost something."""

    def __init__(self):
        self.annotated = []

    def annotate(self, predictions, **args):
        self.annotated += [one.place for one in predictions]
        return [{"length": len(one.output or "")} for one in predictions]


@pytest.fixture
def counting(monkeypatch):
    counting = Counting()
    metric = Metric(lambda rows, **args: rows.note("length"), annotate=counting.annotate)
    monkeypatch.setitem(METRICS, "counted_length", metric)
    return counting


def test_the_same_evaluation_is_answered_from_storage_and_another_metric_from_its_predictions(
    classifying_folder, tmp_path, counting, monkeypatch
):
    data, how = labelled(tmp_path, 8), How(str(tmp_path / "runs"))
    subject = FolderSubject(classifying_folder, "tiny")
    first = evaluate_subject(subject, [data], how=how)
    assert not first.sections["cached"]["is_cached"] and first.subject == "tiny"
    assert (tmp_path / "runs" / EVALUATIONS / first.fingerprint / "report.html").exists()
    monkeypatch.setattr(FolderSubject, "predict", None)  # nothing is predicted from here on
    again = evaluate_subject(subject, [data], how=how)
    assert again.sections["cached"]["is_cached"] and again.metrics == first.metrics
    assert (again.intervals, again.predictions) == (first.intervals, first.predictions)
    assert again.sections["looks"]["count"] == 1 and len(again.sections["looks"]["looks"]) == 2
    settings = EvaluateConfig(metrics=["counted_length"])
    more = evaluate_subject(subject, [data], settings, slices=["label == 'x'", "words(prompt)"][1:], how=how)
    assert more.fingerprint == first.fingerprint and more.metrics["counted_length"] > 0
    assert more.slices["words(prompt)"].keys() == {"4", "5"} and len(counting.annotated) == 8
    evaluate_subject(subject, [data], settings.model_copy(update={"confidence": 0.9}), how=how)
    assert len(counting.annotated) == 8, "notes were made twice"
    stored = json.loads((tmp_path / "runs" / EVALUATIONS / first.fingerprint / "evaluation.json").read_text())
    assert len(stored["annotators"]) == 1


def test_another_row_or_another_length_is_another_evaluation(classifying_folder, tmp_path):
    how = How(str(tmp_path / "runs"))
    subject = FolderSubject(classifying_folder)
    first = evaluate_subject(subject, [labelled(tmp_path, 6)], how=how)
    second = evaluate_subject(subject, [labelled(tmp_path, 7)], how=how)
    third = evaluate_subject(subject, [labelled(tmp_path, 7)], EvaluateConfig(max_rows=3), how=how)
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3
    assert (second.n, third.n) == (7, 3)
