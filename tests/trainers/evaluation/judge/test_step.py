"""Claims about judging as a step of an evaluation: figures, pages, what is kept and gone on from."""

import pytest

from cluster.config import EvaluateConfig
from cluster.exceptions import DataError
from tests.trainers.evaluation.judge import endpoint
from tests.trainers.evaluation.tiny_folders import ANSWERS, conversation, write_jsonl
from trainers.evaluation import Prediction
from trainers.evaluation.evaluate import How, evaluate_subject
from trainers.evaluation.judge import judged
from trainers.evaluation.store import EvaluationDirectory, load
from trainers.evaluation.subjects import FolderSubject

ROWS = {
    at: Prediction(f"rows:{at}", "good", "good" if at % 2 else "bad", key=f"k{at}", prompt=f"question {at}")
    for at in range(4)
}


def settings(judge: endpoint.Endpoint, **more) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"judge": {"engine": judge.engine(concurrency=1), "grading": {}}, **more})


def test_rows_are_judged_once_and_gone_on_with_after_the_judge_died(tmp_path):
    directory = EvaluationDirectory.of(str(tmp_path), "f")
    with endpoint.serving(endpoint.dying_after(3)) as judge:
        with pytest.raises(DataError, match="stopped answering after 3 answers"):
            judged(ROWS, settings(judge), directory)
        judge.behaviour, judge.requests[:] = endpoint.sensible, []
        found, keys = judged(ROWS, settings(judge), directory)
        assert judged(ROWS, settings(judge), directory)[0] == found
        assert len(judge.requests) == 1
    assert [one.notes["judge_correct"] for one in found.values()] == [0.0, 1.0, 0.0, 1.0]
    assert directory.notes(keys[0])[1]["judge_correct"] == 1.0


def test_a_row_that_the_engine_refused_is_asked_about_again_next_time(tmp_path):
    directory = EvaluationDirectory.of(str(tmp_path), "f")
    with endpoint.serving(endpoint.sensible) as judge:
        judge.error, judge.behaviour = 400, endpoint.dying_after(0)
        found, keys = judged(ROWS, settings(judge), directory)
        assert all("BadRequestError" in one.notes["judge_problem"] for one in found.values())
        assert directory.notes(keys[0]) == {}
        judge.behaviour = endpoint.sensible
        assert judged(ROWS, settings(judge), directory)[0][1].notes["judge_correct"] == 1.0


def test_changed_ratings_are_read_again(tmp_path):
    path = tmp_path / "ratings.csv"
    evaluate = EvaluateConfig.model_validate({"ratings": {"path": str(path)}})
    directory = EvaluationDirectory.of(str(tmp_path), "f")
    for rating in (2.0, 4.0):
        path.write_text(f"key,rater,rating\nk1,ann,{rating}\n")
        assert judged(ROWS, evaluate, directory)[0][1].notes["human_rating"] == rating


def test_an_evaluation_is_judged_and_its_figures_have_intervals(ray_cluster, answering_folder, tmp_path):
    rows = [{"messages": conversation(question, "{}")} for question in ANSWERS]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    with endpoint.serving(endpoint.sensible) as judge:
        config = settings(judge, max_new_tokens=40)
        config = config.model_copy(update={"judge": judge.judge(grading={}, pairwise={})})
        result = evaluate_subject(FolderSubject(answering_folder), [data], config, how=How(str(tmp_path / "runs")))
        again = evaluate_subject(FolderSubject(answering_folder), [data], config, how=How(str(tmp_path / "runs")))
        assert len(judge.requests) == 3 * 4
    assert result.metrics["judge_correct"] == 0.0
    assert result.metrics["judge_win_rate"] == 0.5
    assert result.intervals["judge_correct"][1] > 0
    assert result.sections["judge"]["position"]["pairs"] == 4
    assert again.metrics == result.metrics
    stored = load(EvaluationDirectory.of(str(tmp_path / "runs"), result.fingerprint).storage)
    assert stored.predictions[0].notes["judge_win"] == 0.5
