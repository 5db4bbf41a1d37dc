"""Claims about the pages of evaluations and comparisons."""

import dataclasses

import pytest

from cluster.config import EvaluateConfig, GateConfig
from cluster.config.compare import CompareConfig
from tests.trainers.evaluation.test_compare import evaluated
from tests.trainers.test_report import Links
from trainers.evaluation.compare import Side, compare
from trainers.evaluation.confidence import sections as confidence
from trainers.evaluation.errors import sections as errors
from trainers.evaluation.figures import summarise
from trainers.evaluation.gate_facts import decide_by
from trainers.evaluation.page import render, tree
from trainers.evaluation.page_comparison import render_comparison
from trainers.evaluation.rows import Rows

SECTIONS = {
    "looks": {"sentence": "these rows were scored twice", "looks": []},
    "own_things": {"found": {"deep": 1.5}, "listed": [{"name": "<a>", "n": 3}]},
}


def fetched_by(page):
    links = Links()
    links.feed(page)
    assert not links.open
    return links.fetched


@pytest.fixture(scope="module")
def result():
    made = evaluated(0.8)
    hostile = dataclasses.replace(
        made.predictions[0], prompt="<script>alert(1)</script>", output="<b>", probability=0.9
    )
    rows = Rows([hostile, *made.predictions[1:]], made.labels)
    found = summarise("classification", rows, EvaluateConfig(num_resamples=200), ["channel"])
    return dataclasses.replace(
        found,
        subject="a <model>",
        data=["/data/rows.csv"],
        cost={"model_bytes": 9e7},
        sections=found.sections | SECTIONS | confidence.report(rows) | {"errors": errors.report(rows)},
    )


@pytest.fixture(scope="module")
def page(result):
    return render(result)


def test_the_page_of_an_evaluation_fetches_nothing_and_runs_nothing(page):
    assert fetched_by(page) == []
    assert "<script" not in page and "&lt;script&gt;" in page


def test_it_shows_metrics_slices_classes_confusions_and_cost(page, result):
    assert f"{result.metrics['accuracy']:.1%}" in page
    for words in ("By channel", "expected, given", "Ranked", "90 MB", "a &lt;model&gt;", "Rows it got wrong"):
        assert words in page, words


def test_it_shows_what_others_found_out(page):
    for words in ("calibration error", "Where it fails", "groups of rows", "scored twice", "Own things", "found.deep"):
        assert words in page, words


def test_it_reads_by_day_and_by_night(page):
    assert "prefers-color-scheme: dark" in page
    assert "background: color-mix(in srgb, var(--accent)" in page


def test_answers_that_are_texts_are_no_confusions():
    made = evaluated(0.8, n=60)
    texts = [dataclasses.replace(one, reference=f"text {at}") for at, one in enumerate(made.predictions)]
    found = summarise("causal_lm", Rows(texts), EvaluateConfig(num_resamples=200))
    assert "expected, given" not in render(found)


def test_anything_plain_becomes_a_table():
    assert fetched_by(tree({"a": {"b": [1, 2]}, "c": [{"x": None}], "d": "<e>"})) == []
    assert "<e>" not in tree("<e>")


def test_the_page_of_a_comparison_tells_verdicts_intervals_rows_and_the_gate():
    sides = [Side("old <1>", [evaluated(0.7)], ["runs/old"]), Side("new", [evaluated(0.9, seed=1)], ["runs/new"])]
    quick = CompareConfig(num_resamples=300)
    decision = decide_by(GateConfig(clauses=["accuracy better", "accuracy at least 0.99"]), sides[1], sides[0], quick)
    page = render_comparison(compare(sides, quick), decision)
    assert fetched_by(page) == []
    for words in (
        "new against old &lt;1&gt;",
        "better",
        "channel=mail",
        "McNemar",
        "a 1-point drop is seen",
        "only the second",
    ):
        assert words in page, words
    assert "fail" in page and "where at least 0.99 is asked for" in page
