"""Claims about scores of texts: they are those of the libraries that the field compares by, and they resample."""

import json

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER

from tests.trainers.evaluation.metrics.made import reason, resamples_as_recomputed, rows, sentence, value, values
from trainers.evaluation.metrics.answers import final_number
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows


def texts(seed: int, n: int = 12) -> Rows:
    """Answers that keep some words of their references."""
    rng = np.random.default_rng(seed)
    wanted = [sentence(rng) for _ in range(n)]
    given = [" ".join(word if rng.random() < 0.7 else sentence(rng, 3) for word in one.split(" ")) for one in wanted]
    return Rows(
        [Prediction("", want, got, columns={"more": [sentence(rng)]}) for want, got in zip(wanted, given, strict=True)]
    )


def pairs(given: Rows) -> tuple[list[str], list[str], list[str]]:
    return given.outputs, given.references, [one.columns["more"][0] for one in given.predictions]


@pytest.mark.parametrize("seed", range(15))
def test_bleu_chrf_and_ter_are_those_of_sacrebleu(seed):
    given = texts(seed, n=1 + seed)
    outputs, first, second = pairs(given)
    for references, args in (([first], {}), ([first, second], {"references": "more"})):
        assert value(given, "bleu", **args) == pytest.approx(BLEU().corpus_score(outputs, references).score)
        assert value(given, "chrf", **args) == pytest.approx(CHRF().corpus_score(outputs, references).score)
        plus = CHRF(word_order=2).corpus_score(outputs, references).score
        assert value(given, "chrf", word_order=2, **args) == pytest.approx(plus)
        assert value(given, "ter", **args) == pytest.approx(TER().corpus_score(outputs, references).score)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "rouge", "meteor", "token_f1", "normalised_match", "distinct"])
def test_scores_of_texts_over_rows_drawn_again_are_those_over_these_rows(name):
    for seed in range(3):
        resamples_as_recomputed(texts(seed), name, seed)


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_is_that_of_rouge_score(stem):
    given = texts(3, n=20)
    outputs, first, second = pairs(given)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)
    theirs = [scorer.score_multi(both, got) for got, *both in zip(outputs, first, second, strict=True)]
    for name, one in values(given, "rouge", stem=stem, references="more").items():
        assert one == pytest.approx(np.mean([row[name].fmeasure for row in theirs]))


def test_rouge_counts_words_of_any_script_where_asked():
    given = rows(("добрый день", "добрый вечер"))
    assert values(given, "rouge")["rouge1"] == 0.0
    assert values(given, "rouge", any_script=True)["rouge1"] == 0.5


def test_meteor_is_nltks_example_without_synonyms():
    want = "It is a guide to action that ensures that the military will forever heed Party commands"
    got = "It is a guide to action which ensures that the military always obeys the commands of the party"
    assert value(rows((want, got)), "meteor") == pytest.approx(0.6944, abs=1e-4)
    assert value(rows(("cats", "cat")), "meteor") == 0.5, "equal stems match"


def test_squads_normalisation_and_word_f1():
    given = rows(("The Cat!", "cat"), ("a red car", "the car is red"), ("x", ""))
    assert value(given, "normalised_match") == pytest.approx(1 / 3)
    assert value(given, "token_f1") == pytest.approx((1 + 2 * 2 / 5 + 0) / 3)


def test_further_answers_are_right_too():
    given = Rows([Prediction("", "USA", "United States", columns={"aliases": ["United States", "US"]})])
    assert value(given, "normalised_match") == 0.0
    assert value(given, "normalised_match", references="aliases") == 1.0
    why = reason(given, "normalised_match", references="alias")
    assert why == "no row has the column 'alias'; the rows have 'aliases'"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7\n#### 7", 7),
        ("#### 1,234.50", 1234.5),
        ("so it costs $1,000.", 1000),
        ("-3", -3),
        ("it is -.5e1", -5),
        ("none", None),
        ("#### none 5", 5),
        ("1e999999999", None),
        (None, None),
    ],
)
def test_the_number_of_an_answer(text, number):
    assert final_number(text) == number


def test_numbers_match_by_value():
    given = rows(("#### 1000", "so 1,000.00"), ("#### 3", "4"), ("#### 10", "10.4"), ("no number", "3"))
    assert value(given, "numeric_match") == pytest.approx(1 / 3)
    assert value(given, "numeric_match", tolerance=0.05) == pytest.approx(2 / 3)


def test_answers_are_embedded_once_and_read_from_notes(monkeypatch):
    from trainers.data.stages.augment import similarity
    from trainers.evaluation.metrics import METRICS, summary

    monkeypatch.setattr(summary, "_encoder", lambda model: similarity.letters)
    given = [Prediction("", "a cat", "a cat"), Prediction("", None, "x"), Prediction("", "abc", "xyz")]
    notes = METRICS["embedding_similarity"].annotate(given, model="any")
    assert [list(one) for one in notes] == [["embedding_similarity"], [], ["embedding_similarity"]]
    noted = Rows([Prediction("", "", "", notes=one) for one in notes])
    assert value(noted, "embedding_similarity", model="any") > 0


def test_self_bleu_is_sacrebleus_score_against_all_others():
    given = texts(5, n=15)
    scorer = BLEU(effective_order=True)
    outputs = given.outputs
    theirs = [
        scorer.sentence_score(one, [other for place, other in enumerate(outputs) if place != at]).score
        for at, one in enumerate(outputs)
    ]
    assert value(given, "self_bleu") == pytest.approx(np.mean(theirs))
    assert value(rows(*[("", "the same words again")] * 4), "self_bleu") == pytest.approx(100)


def test_distinct_words_are_counted_over_all_answers():
    given = rows(("", "a b a"), ("", "a b"))
    assert values(given, "distinct", n=[1, 2]) == {"distinct.1": 2 / 5, "distinct.2": 2 / 3}


def test_repetition_is_within_an_answer():
    given = rows(("", "a b a b a b"), ("", "a b c d"), ("", "a"))
    assert value(given, "repetition", n=2) == pytest.approx((3 / 5 + 0) / 2)


def test_novelty_is_measured_against_training_rows(tmp_path):
    from trainers.evaluation.metrics import METRICS

    lines = [{"messages": [{"role": "user", "content": "one two three four five"}]}, {"text": "six seven eight nine"}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    args = {"against": str(tmp_path / "train.jsonl"), "n": 3}
    outputs = ["One two three, four!", "Six seven eight nine.", "entirely other words here", "two"]
    notes = METRICS["novelty"].annotate([Prediction("", None, one) for one in outputs], **args)
    assert [one.get("novelty_new") for one in notes] == [0.0, 0.0, 1.0, None]
    assert [one["novelty_unseen"] for one in notes] == [1.0, 0.0, 1.0, 1.0]
    noted = Rows([Prediction("", None, "", notes=one) for one in notes])
    assert values(noted, "novelty", **args) == {"novelty.new": pytest.approx(1 / 3), "novelty.unseen": 0.75}


def test_length_is_counted_in_words_letters_and_tokens():
    given = Rows([Prediction("", "one two three four", "one two", output_tokens=3)])
    assert values(given, "length") == {
        "length.words": 2.0,
        "length.characters": 7.0,
        "length.tokens": 3.0,
        "length.ratio": 0.5,
    }
    resamples_as_recomputed(texts(1), "length", 0)


def test_easy_english_reads_easily():
    easy, hard = "The cat sat. The dog ran.", "Institutional considerations necessitate comprehensive reorganisation."
    assert values(rows((None, easy)), "readability")["readability.flesch"] == pytest.approx(206.835 - 1.015 * 3 - 84.6)
    assert values(rows((None, hard)), "readability")["readability.grade"] > 20


def test_an_answer_in_another_language_is_noticed():
    german = "Das Wetter ist heute sehr schön, wir gehen in den Garten."
    english = "The weather is very nice today, we are going into the garden."
    assert value(rows((german, german), (german, english), ("kurz", "short")), "language") == 0.5
    assert value(rows((None, german)), "language", expected="de") == 1.0
    columned = Rows([Prediction("", None, german, columns={"lang": "en-GB"})])
    assert value(columned, "language", expected="lang") == 0.0


def test_consistency_is_the_share_of_other_askings_answered_alike():
    said = [("q1", "Paris"), ("q1", "paris."), ("q1", "Lyon"), ("q2", "4")]
    given = Rows([Prediction("", None, answer, columns={"question": name}) for name, answer in said])
    assert value(given, "consistency", group="question") == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_bits_per_byte_follow_from_loss_and_bytes():
    given = Rows([Prediction("", None, None, loss_sum=np.log(2) * 8, loss_units=3, loss_bytes=4)] * 2)
    assert value(given, "bits_per_byte") == pytest.approx(2.0)
    assert values(rows(("a", "a")), "bits_per_byte") == {}


def test_sacrebleu_is_of_the_version_whose_counts_are_used():
    assert sacrebleu.__version__.startswith("2."), "the counts have no public name: see translation.counts_of"
