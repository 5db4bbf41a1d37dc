"""Slurs and obscene words."""

import csv
import json

import pytest

from cluster.config.stages import parse_stages
from cluster.exceptions import ConfigError
from tests.serving.tiny_models import LABELS, tiny_classifier_folder
from tests.trainers.data.stages.clean.rows import changed, chat, one, run
from trainers.data.stages.clean.blocklist import Blocklist, Classifier

OWN = {"kind": "blocklist", "languages": [], "words": ["dratted", "blast it", "ass", "s&m", "bs"]}


@pytest.mark.parametrize(
    "text",
    ["Dratted!", "the dratted, dull thing", "DRATTED", "draaatteddd", "dr4tt3d", "dr@tted!", "d.r.a.t.t.e.d", "d r a t t e d",
     "Blast it", "blast  it.", "8last 1t", "what an a$$", "asss", "S&M."],
)  # fmt: skip
def test_listed_words_are_found_however_they_are_spelt(text):
    assert one(text, **OWN).rejected.startswith("blocklist: blocked word (")


@pytest.mark.parametrize(
    "text",
    [
        "undrattedly",
        "as it was, as I said",
        "assess the class",
        "455 dollars, 4 5 5",
        "blast. It is",
        "a b c",
        "two 8s",
        "s - m",
    ],
)
def test_other_words_stay(text):
    record = one(text, **OWN)
    assert record.rejected is None and record.notes == {}


def test_the_packaged_list_is_used_without_settings():
    record = one(chat("What a load of bullsh1t."), kind="blocklist")
    assert record.rejected == "blocklist: blocked word (bullshit)" and record.notes["blocklist"] == ["bullshit"]
    assert one(chat("What a load of bullshit."), kind="blocklist", allow=["Bullshit"]).rejected is None
    assert one("So eine Scheiße!", kind="blocklist").rejected is None
    assert one("So eine Scheiße!", kind="blocklist", languages=["german"]).rejected


def test_words_are_noted_or_masked_when_asked():
    record = one("A dratted row. Blast it!", **OWN, action="note")
    assert record.rejected is None and record.notes["blocklist"] == ["dratted", "blast it"] and not record.changes
    assert changed("A dr4tted row. Blast it! D.R.A.T.T.E.D", **OWN, action="mask") == "A *** row. ***! ***"


def test_letters_that_become_longer_in_lower_case_do_not_shift_the_mask():
    assert changed("Straße dratted ẞ dratted", **OWN, action="mask") == "Straße *** ẞ ***"


def test_a_file_and_patterns_add_to_the_list(tmp_path):
    (tmp_path / "words.txt").write_text("# ours\nfiddlesticks  # mild\n\n")
    settings = {
        "kind": "blocklist",
        "languages": [],
        "words_file": str(tmp_path / "words.txt"),
        "patterns": [r"acme-\d+"],
    }
    assert one("Fiddlesticks.", **settings).rejected and one("ACME-42", **settings).rejected
    assert one("ours mild", **settings).rejected is None
    [config] = parse_stages([settings])
    before = Blocklist.inputs(config)
    (tmp_path / "words.txt").write_text("other\n")
    assert Blocklist.inputs(config) != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"languages": ["klingon"]}, "no list of klingon words, expected languages among arabic"),
        ({"languages": []}, "there is nothing to look for"),
        ({"words_file": "nowhere.txt"}, "words_file nowhere.txt cannot be read"),
    ],
)
def test_lists_that_are_not_there_are_refused_before_anything_runs(settings, said):
    [config] = parse_stages([{"kind": "blocklist", **settings}])
    with pytest.raises(ConfigError, match=said):
        Blocklist.inputs(config)


def test_real_questions_hold_few(shared_data):
    with (shared_data / "banking77" / "train.csv").open() as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    problems = [json.loads(line)["question"] for line in (shared_data / "gsm8k" / "train.jsonl").open()]
    lost = [record.rejected for record in run(*questions, *problems, kind="blocklist") if record.rejected]
    assert len(lost) < 20, lost


# -- a classifier ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_classifier_folder(tmp_path_factory.mktemp("toxicity") / "model"))


def test_a_model_scores_each_row_by_its_worst_text(model):
    toxicity = {"model": model, "labels": [LABELS[0]], "threshold": 0.0}
    settings = {"kind": "blocklist", "languages": [], "toxicity": toxicity}
    row = chat("Yes, it was sent.", "Where is it?")
    record = one(row, **settings)
    [config] = parse_stages([settings])
    scores = Classifier(config.toxicity).scores(["Where is it?", "Yes, it was sent."])
    assert record.notes["toxicity"] == round(max(scores), 4)
    assert record.rejected == f"blocklist: toxic text (score {max(scores):.2f})"
    strict = settings | {"toxicity": toxicity | {"threshold": 1.0}}
    assert one(row, **strict).rejected is None and one(row, **settings, action="note").rejected is None


def test_a_model_without_the_label_is_refused(model, tmp_path):
    toxicity = {"model": model, "labels": ["toxic"]}
    with pytest.raises(ConfigError, match="has no label toxic, expected some of"):
        one("Hi", kind="blocklist", toxicity=toxicity)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        one("Hi", kind="blocklist", toxicity=toxicity | {"model": str(tmp_path)})
