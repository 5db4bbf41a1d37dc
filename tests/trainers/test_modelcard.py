"""Claims about the model card: the Hub can read it, it says how sure its figures are, and people's words stay."""

import dataclasses

import pytest
import yaml
from huggingface_hub import ModelCard

from cluster.config import RunConfig
from cluster.exceptions import DataError
from trainers.evaluation.result import EvaluationResult
from trainers.modelcard import CARD, NOT_SCORED, model_card, update_card

CONFIG = {
    "name": "desk",
    "model": {"name_or_path": "Qwen/Qwen3-0.6B"},
    "data": {"train": [{"path": "train.jsonl", "license": "cc-by-4.0"}, "more.jsonl"], "test": "test.jsonl"},
    "train": {"adaptation": {"kind": "lora"}},
    "card": {"license": "apache-2.0", "language": ["en"], "intended_use": "To sort mail.", "authors": ["A. Person"]},
}
LINEAGE = {
    "created_at": "2026-01-02T03:04:05+00:00",
    "data": {"fingerprint": "abc", "report": {"train": {"rows": 4, "tokens": 99}}},
    "environment": {"machine": "x86_64", "accelerator": "NVIDIA H200"},
}
METRICS = {"train_loss": 0.5, "eval_loss": 0.7, "test_exact_match": 0.75, "train_s": 3725.0, "tokens": 1_000_000}


def evaluated(**more) -> EvaluationResult:
    result = EvaluationResult(
        kind="causal_lm",
        n=80,
        metrics={"exact_match": 0.75, "loss": 0.4, "perplexity": float("inf"), "cut_rows": 3},
        baseline={"exact_match": 0.7},
        baseline_answer="yes",
        slices={"channel": {"mail": {"n": 50, "exact_match": 0.9}, "chat": {"n": 30, "exact_match": 0.5}}},
        classes={},
        predictions=[],
        duration_s=1.0,
        intervals={"exact_match": (0.645, 0.832)},
        slice_intervals={"channel": {"chat": {"exact_match": (0.33, 0.67)}}},
        cost={"rows_per_s": 12.5, "latency_p95_s": 0.25, "model_bytes": 2.0**21},
        data=["/home/me/secret-place/test.jsonl"],
        data_fingerprint="f00d",
        scored_at="2026-01-03T00:00:00+00:00",
        sections={
            "looks": {"sentence": "these rows were scored 3 times with 2 models"},
            "judge": {"position": {"sentence": "Of 80 pairs, 8 verdicts turned."}},
        },
    )
    return dataclasses.replace(result, **more)


@pytest.fixture
def card() -> str:
    return model_card(RunConfig.model_validate(CONFIG), METRICS, LINEAGE, [evaluated()])


def test_the_hub_reads_the_front_matter(card):
    data = ModelCard(card).data
    assert (data.license, data.language, data.base_model) == ("apache-2.0", ["en"], "Qwen/Qwen3-0.6B")
    found = {one.metric_name: one for one in data.eval_results}
    assert set(found) == {"exact_match", "loss"}
    assert found["exact_match"].metric_value == 0.75
    assert found["exact_match"].metric_args == {"rows": 80, "confidence_interval": [0.645, 0.832]}
    assert found["exact_match"].dataset_name == "test.jsonl"
    assert "secret-place" not in card


def test_every_figure_stands_with_its_interval_its_floor_and_its_slices(card):
    assert "| `exact_match` | 0.75 | 0.645 to 0.832 | 0.7 |" in card
    assert "| chat | 30 | 0.5 | 0.33 to 0.67 |" in card
    assert card.index("| chat | 30") < card.index("| mail | 50")
    assert "These rows were scored 3 times with 2 models." in card
    assert "- Of 80 pairs, 8 verdicts turned." in card


def test_limits_follow_from_the_figures(card):
    limits = card.partition("## Limits")[2].partition("## Training data")[0]
    assert "scored on 80 rows only" in limits
    assert "exact_match is not shown to be better than always giving the most common answer (0.7)" in limits
    assert "weaker where channel is chat: exact_match 0.5 on 30 rows, against 0.75 on all" in limits
    assert "3 of 80 rows were longer than the model takes" in limits


def test_use_cost_licences_and_citation_are_told(card):
    assert "To sort mail." in card and "## Out of scope" in card
    assert "| training time | 1 h 2 min |" in card
    assert "| trained with | 1 worker on NVIDIA H200 |" in card
    assert "| 95 of 100 answers come within | 0.25 s |" in card
    assert "| train | train.jsonl | cc-by-4.0 |" in card and "not stated |" in card
    assert "author = {A. Person}" in card and "year = {2026}" in card
    assert "https://huggingface.co/Qwen/Qwen3-0.6B" in card


def test_a_run_that_scored_nothing_says_so(tmp_path):
    config = RunConfig.model_validate({**CONFIG, "card": {}})
    card = model_card(config, {"eval_loss": 0.7}, {})
    assert NOT_SCORED in card
    (result,) = ModelCard(card).data.eval_results
    assert (result.dataset_name, result.metric_value) == ("validation rows of the run", 0.7)
    assert "Of the model: not stated." in card
    (tmp_path / CARD).write_text(card)
    update_card(tmp_path, evaluated())
    assert NOT_SCORED not in (tmp_path / CARD).read_text()


def test_the_licence_of_a_base_model_that_lies_here_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / CARD).write_text("---\nlicense: mit\n---\n# base\n")
    config = RunConfig.model_validate({**CONFIG, "model": {"name_or_path": str(tmp_path)}, "card": {}})
    card = model_card(config, {}, {})
    assert ModelCard(card).data.license == "mit"
    assert ModelCard(card).data.base_model is None


def test_a_later_evaluation_takes_the_place_of_the_same_rows_and_stands_beside_others(card, tmp_path):
    (tmp_path / CARD).write_text(card.replace("# desk\n", "# desk\n\nWritten by hand.\n"))
    update_card(tmp_path, evaluated(metrics={"exact_match": 0.8}, intervals={}))
    update_card(
        tmp_path, evaluated(data=["other.jsonl"], data_fingerprint="beef", metrics={"exact_match": 0.2}, intervals={})
    )
    text = (tmp_path / CARD).read_text()
    assert "Written by hand." in text
    assert text.count("<!-- mobula:results f00d -->") == text.count("<!-- mobula:results beef -->") == 1
    assert "| `exact_match` | 0.8 | - | 0.7 |" in text and "0.645 to 0.832" not in text
    assert text.index("<!-- /mobula:results -->") < text.index("## Limits")
    found = {(one.dataset_name, one.metric_name): one.metric_value for one in ModelCard(text).data.eval_results}
    assert found == {
        ("test.jsonl", "exact_match"): 0.8,
        ("other.jsonl", "exact_match"): 0.2,
    }


def test_a_folder_without_a_card_gets_one_and_a_foreign_card_keeps_its_words(tmp_path):
    update_card(tmp_path, evaluated())
    assert ModelCard((tmp_path / CARD).read_text()).data.eval_results
    (tmp_path / CARD).write_text("---\nlicense: mit\nwidget: []\n---\n# Theirs\n\nWords.\n")
    update_card(tmp_path, evaluated())
    text = (tmp_path / CARD).read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "mit" and front["widget"] == []
    assert "Words.\n\n## Evaluation" in text


def test_a_broken_front_matter_is_named(tmp_path):
    (tmp_path / CARD).write_text("---\n- a list\n---\n# Theirs\n")
    with pytest.raises(DataError, match=r"README\.md: the front matter .*is no YAML mapping"):
        update_card(tmp_path, evaluated())


def test_what_data_says_cannot_change_the_card():
    sly = "x | y\n<!-- /mobula:results -->"
    slices = {"channel": {sly: {"n": 30, "exact_match": 0.5}}}
    card = model_card(RunConfig.model_validate(CONFIG), {}, {}, [evaluated(slices=slices, slice_intervals={})])
    assert card.count("<!-- /mobula:results -->") == 1
    assert r"x \| y" in card
