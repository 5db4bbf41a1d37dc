"""`mobula compare` as people call it."""

import dataclasses
import json

import pytest

from cluster.cli import run
from cluster.config import RunConfig
from cluster.config.load import dump_config
from cluster.registry import Registry
from tests.trainers.evaluation.test_compare import evaluated
from tests.trainers.evaluation.tiny_folders import ANSWERS, LABELS, classifying_folder, write_jsonl
from trainers.evaluation.store import save

QUICK = ["compare.num_resamples=300"]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """Folders of evaluations by name."""
    folder = tmp_path_factory.mktemp("evaluations")
    made = {
        "weak": evaluated(0.7, fingerprint="w"),
        "strong": evaluated(0.95, seed=1, fingerprint="s"),
        "even": evaluated(0.7, seed=2, fingerprint="e"),
        "few": dataclasses.replace(evaluated(0.9), n=50, predictions=evaluated(0.9).predictions[:50]),
        "good-seed1": evaluated(0.9, seed=3),
        "good-seed2": evaluated(0.91, seed=4),
        "poor-seed1": evaluated(0.7, seed=5),
        "poor-seed2": evaluated(0.71, seed=6),
    }
    for name, result in made.items():
        save(result, str(folder / name))
    return {name: str(folder / name) for name in made}


@pytest.fixture
def compared(evaluations, tmp_path, capsys):
    """Runs the command on evaluations by name; its exit status, stdout and stderr."""

    def compared(*words):
        status = run(["compare", *(evaluations.get(word, word) for word in words), *QUICK, "--output", str(tmp_path)])
        return status, *capsys.readouterr()

    return compared


def test_the_stronger_one_is_called_better_in_a_table_a_file_and_a_page(compared, tmp_path):
    status, out, _ = compared("weak", "strong")
    assert status == 0
    assert "strong against weak, 400 rows" in out
    line = next(line for line in out.splitlines() if line.startswith("accuracy "))
    assert line.endswith("better") and " points" in line
    assert "with these 400 rows a 1-point drop is seen" in out
    assert f"{tmp_path}/report.html" in out and "better" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "comparison.json").read_text())["headline"] == "accuracy"


def test_another_seed_shows_no_difference(compared):
    _, out, _ = compared("weak", "even")
    assert "better" not in out and "worse" not in out.replace("the worst", "")
    assert "no difference shown" in out


def test_json_is_one_document_without_what_json_does_not_have(compared):
    _, out, _ = compared("weak", "strong", "--json", "--slice", "channel")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["differences"][0]["verdict"] in ("better", "worse")
    assert found["folder"]


@pytest.mark.parametrize(
    ("candidate", "status", "word"), [("strong", 0, "pass"), ("few", 2, ""), ("even", 4, "inconclusive")]
)
def test_a_gate_speaks_by_its_exit_status_and_says_why(compared, tmp_path, candidate, status, word):
    gate = tmp_path / "gate.yaml"
    gate.write_text("clauses: [accuracy better, 'accuracy at least 0.5']\n")
    found, out, _ = compared("weak", candidate, f"--gate={gate}")
    assert found == status
    assert word in out
    if status == 4:
        assert "inconclusive: even against weak: accuracy" in out
        assert compared("strong", "weak", f"--gate={gate}")[0] == 1


def test_trainings_of_one_model_are_taken_together(compared):
    names = ["poor-seed1", "good-seed1", "poor-seed2", "good-seed2"]
    _, out, _ = compared(*names)
    assert "good against poor" in out and "another seed alone moves the difference" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["weak", "few"], "weak was evaluated on 400 rows and few on 50, of which 50 are the same"),
        (["weak", "strong", "--gate"], "--gate: the candidate has no `gate:` section"),
        (["weak", "strong", "even", "--gate=GATE"], "--gate decides on one candidate; found 3 models"),
        (["weak", "strong", "--margin", "acuracy=0.1"], "found 'acuracy', which is no metric"),
        (["weak", "strong", "--margin", "accuracy"], "--margin 'accuracy': expected METRIC=VALUE"),
        (["weak", "strong", "compare.agianst=each"], "compare.agianst: unknown key; did you mean against?"),
        (["weak"], "name a second model to compare it with"),
        (["weak", "strong,"], "found no model to compare"),
        (["weak", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_sentence(compared, tmp_path, words, told):
    gate = tmp_path / "gate.yaml"
    gate.write_text("clauses: [accuracy better]\n")
    status, out, err = compared(*(word.replace("GATE", str(gate)) for word in words))
    assert (status, out) == (2, "")
    assert told in err and "Traceback" not in err


# -- models ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A registry with two versions of one model, and rows to score: their folders and its storage path."""
    storage = tmp_path_factory.mktemp("runs")
    rows = [{"text": question, "label": LABELS[question.split()[0]]} for question in ANSWERS] * 10
    data = write_jsonl(storage / "rows.jsonl", [{**row, "text": f"{row['text']} {at}"} for at, row in enumerate(rows)])
    config = RunConfig.model_validate(
        {
            "name": "desk",
            "model": {"kind": "scratch"},
            "data": {"train": data, "test": data},
            "train": {"objective": {"kind": "classification"}},
            "evaluate": {"seen_rows": "flag", "num_resamples": 200},
            "compare": {"num_resamples": 300},
            "gate": {"clauses": ["accuracy not worse by 20 points", "loss at most 1000"]},
            "cluster": {"storage_path": str(storage)},
        }
    )
    folders = []
    for number in (1, 2):
        folder = classifying_folder(storage / f"desk-{number}" / "model")
        (folder.path / "run.yaml").write_text(dump_config(config))
        Registry(str(storage)).register("desk", str(folder.path))
        folders.append(str(folder.path))
    return folders, str(storage)


def test_a_single_model_is_held_against_the_champion_of_its_name(ray_cluster, registered, capsys):
    (_, second), storage = registered
    status = run(["compare", second, "--gate", "--storage-path", storage])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "desk-2 against models:/desk@champion, 40 rows" in out
    assert "pass: desk-2 against models:/desk@champion holds all 2 clauses" in out
    assert run(["compare", second, "--storage-path", storage, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][1]["n"] == [40]


def test_the_first_version_is_held_to_absolute_clauses_only(ray_cluster, registered, capsys):
    (first, _), storage = registered
    assert run(["compare", first, "--gate", "--storage-path", storage]) == 0
    assert "first version, so 1 clauses that need a champion were skipped" in capsys.readouterr().out
    assert run(["compare", first, "--storage-path", storage]) == 2
    assert "is models:/desk@champion itself" in capsys.readouterr().err


def test_a_gate_over_three_variants_is_refused_before_any_is_trained(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(
        "name: desk\nmodel: {kind: scratch}\ndata: {train: a.jsonl, test: a.jsonl}\ngate: {clauses: [accuracy better]}\n"
        "compare: {variants: {a: {}, b: {train.seed: 1}, c: {train.seed: 2}}}\n"
    )
    assert run(["compare", str(path), "--gate"]) == 2
    assert "--gate decides on one candidate; found 3 models" in capsys.readouterr().err
    path.write_text(path.read_text().replace("a: {}, b: {train.seed: 1}, ", ""))
    assert run(["compare", str(path)]) == 2
    assert "compare.variants has one variant; expected at least two" in capsys.readouterr().err
