"""Claims about `mobula evaluate` with a judge, with simulated users, and with a card to refresh."""

import json
import shutil

import pytest

from cluster.cli import run
from tests.trainers.evaluation.judge import endpoint
from tests.trainers.evaluation.judge.test_dialogues import PERSONAS, shop, user_and_judge
from tests.trainers.evaluation.tiny_folders import ANSWERS, conversation, write_jsonl
from trainers.evaluation.store import EVALUATIONS, load


def test_dialogues_with_an_endpoint_are_printed_and_kept(ray_cluster, tmp_path, capsys):
    with endpoint.serving(user_and_judge) as user, endpoint.serving(shop) as model:
        (tmp_path / "dialogues.yaml").write_text(json.dumps({"personas": PERSONAS, "user": user.engine()}))
        arguments = [model.url, "--model", "m", "--dialogues", str(tmp_path / "dialogues.yaml")]
        assert run(["evaluate", *arguments, "--storage-path", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr()
    assert "got what it wanted" in printed.out
    assert "user: Refund, please." in printed.out
    (kept,) = (tmp_path / "runs" / EVALUATIONS).iterdir()
    assert str(kept) in printed.err
    assert load(str(kept)).metrics["dialogue_success"] == 0.5


def test_a_judge_named_in_a_file_scores_a_folder_and_its_card_tells(ray_cluster, answering_folder, tmp_path, capsys):
    folder = shutil.copytree(answering_folder.path, tmp_path / "model")
    data = write_jsonl(tmp_path / "rows.jsonl", [{"messages": conversation(question, "{}")} for question in ANSWERS])
    with endpoint.serving(endpoint.always_first) as judge:
        (tmp_path / "judge.yaml").write_text(json.dumps({"engine": judge.engine(), "pairwise": {}}))
        arguments = [str(folder), "--data", data, "--judge", str(tmp_path / "judge.yaml")]
        more = ["--max-new-tokens", "40", "--update-card", "--storage-path", str(tmp_path / "runs")]
        assert run(["evaluate", *arguments, *more]) == 0
    printed = capsys.readouterr().out
    assert "judge_win_rate" in printed
    assert "Of 4 pairs, 4 verdicts turned when the answers changed places (100.0%" in printed
    card = (folder / "README.md").read_text()
    assert "| `judge_win_rate` | 0.5 |" in card
    assert "4 verdicts turned" in card


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engine: {kind: openai, base_url: u, model: m}\nrubrik: {}\n", "judge.yaml:2: rubrik: Extra inputs"),
        ("engine: {kind: openai, base_url: u, model: m}\n", "judge.yaml:1: the file: nothing to judge"),
        ("- a\n", "judge.yaml"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(answering_folder, tmp_path, capsys, text, words):
    (tmp_path / "judge.yaml").write_text(text)
    assert run(["evaluate", str(answering_folder.path), "--data", "-", "--judge", str(tmp_path / "judge.yaml")]) == 2
    assert words in capsys.readouterr().err


def test_options_that_mean_nothing_here_are_refused(answering_folder, tmp_path, capsys):
    folder = str(answering_folder.path)
    assert run(["evaluate", folder, "--few-shot", "3"]) == 2
    assert "--few-shot is for --harness" in capsys.readouterr().err
    (tmp_path / "d.yaml").write_text(
        json.dumps({"personas": PERSONAS, "user": {"kind": "openai", "base_url": "u", "model": "m"}})
    )
    assert run(["evaluate", folder, "--dialogues", str(tmp_path / "d.yaml")]) == 2
    assert "--dialogues talks to an endpoint" in capsys.readouterr().err
