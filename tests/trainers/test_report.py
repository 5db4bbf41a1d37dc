"""Claims about the report and the model card of a run."""

import re
from html.parser import HTMLParser

import pytest
import yaml

from cluster.config import RunConfig
from cluster.runs import Record, RunDirectory
from trainers.modelcard import model_card
from trainers.report import EVALUATION, Exchange, format_value, write_report

CONFIG = {
    "name": "desk",
    "model": {"name_or_path": "Qwen/Qwen3-0.6B"},
    "data": {"train": "rows <1>.jsonl"},
    "train": {"adaptation": {"kind": "lora"}},
}
METRICS = {"eval_loss": 0.5, "train_s": 75.0, "tokens_per_s": 1234.0, "test_exact_match": 0.75, "best_step": 2}
DATA = {"train": {"rows": 4, "truncated_rows": 1, "tokens": 99, "rows_of_source": {"rows <1>.jsonl": 4}}}
EVALUATED = {
    "n": 4,
    "metrics": {"loss": 0.4, "exact_match": 0.75},
    "baseline": {"exact_match": 0.25},
    "slices": {"channel": {"<mail>": {"n": 4, "exact_match": 0.75}}},
    "classes": {},
    "wrong_predictions": [{"place": "/x/rows.jsonl:3", "reference": "a", "output": "<script>alert(1)</script>"}],
}


class Links(HTMLParser):
    """Collects whatever would be fetched, and complains about tags that are not closed."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(value)
        if tag == "script":
            self.fetched.append("script")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    config = RunConfig.model_validate(CONFIG | {"cluster": {"storage_path": str(tmp_path)}})
    run = RunDirectory.open(config)
    rows = [
        {"step": step, "loss": 2.0 / step, "learning_rate": 1e-4, "tokens_per_s": 1000.0 + step, "grad_norm": 1.0}
        for step in (1, 2, 3)
    ]
    rows.append({"step": 2, "eval_loss": 0.5})
    run.storage.append_text("metrics.jsonl", "".join(f"{row}\n".replace("'", '"') for row in rows))
    run.storage.write_json(EVALUATION, EVALUATED)
    run.write_record(Record("running").finished(metrics=METRICS, version=3, steps=3, details={"data": DATA}))
    return run


def test_the_page_is_whole_and_fetches_nothing(run):
    page = run.storage.read_text(write_report(run).rpartition("/")[2])
    found = Links()
    found.feed(page)
    assert found.fetched == []
    assert found.open == []
    assert not re.search(r"url\((?!#)", page)


def test_the_page_shows_figures_beside_their_baseline(run):
    write_report(run)
    page = run.storage.read_text("report.html")
    assert "75.0%" in page
    assert "always the most common: 25.0%" in page
    assert "1:15" in page
    assert page.count("<svg") == 4


def test_what_the_model_said_cannot_change_the_page(run):
    write_report(run, [Exchange("<img src=x>", "<b>hi</b>", seconds=0.5)])
    page = run.storage.read_text("report.html")
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_run_without_evaluation_still_has_a_page(run):
    run.storage.delete(EVALUATION)
    run.storage.delete("metrics.jsonl")
    write_report(run)
    assert "Evaluation</h2>" not in run.storage.read_text("report.html")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("exact_match", 0.975, "97.5%"),
        ("field.intent", 1.0, "100.0%"),
        ("loss", 0.01234567, "0.01235"),
        ("n", 1200, "1,200"),
    ],
)
def test_shares_are_shown_in_percent(name, value, shown):
    assert format_value(name, value) == shown


def test_the_card_names_base_scores_and_origin(run):
    lineage = {"data": {"fingerprint": "abc", "report": DATA}, "code": {"mobula": "0.1.0"}, "step": 3}
    card = model_card(run.config, METRICS, lineage)
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "peft"
    assert front["base_model"] == "Qwen/Qwen3-0.6B"
    assert {"type": "exact_match", "name": "test_exact_match", "value": 0.75} in front["model-index"][0]["results"][0][
        "metrics"
    ]
    assert "| train | 4 | 99 |" in card
    assert "`abc`" in card


def test_the_card_keeps_local_paths_out_of_the_front_matter(tmp_path):
    config = RunConfig.model_validate(CONFIG | {"model": {"name_or_path": "/home/me/model"}})
    assert "base_model" not in yaml.safe_load(model_card(config, {}, {}).split("---")[1])
