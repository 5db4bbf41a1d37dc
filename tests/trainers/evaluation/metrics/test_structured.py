"""Claims about answers that are JSON: schemas, sets of labels, entities, ranked lists; and about dialogues."""

import json

import numpy as np
import pytest
import torch
from seqeval import metrics as seqeval
from sklearn import metrics as sklearn
from sklearn.preprocessing import MultiLabelBinarizer
from torchmetrics.functional import retrieval as torchmetrics

from cluster.exceptions import ConfigError, DataError
from tests.trainers.evaluation.metrics.made import reason, resamples_as_recomputed, rows, value, values
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def as_json(*given: tuple[object, object]) -> Rows:
    return rows(*((json.dumps(want), json.dumps(got)) for want, got in given))


def test_answers_keep_to_a_schema_or_not(tmp_path):
    given = rows((None, '{"a": 1}'), (None, '{"a": "1"}'), (None, "a is 1"), (None, "[" * 100_000), (None, None))
    assert value(given, "json_schema", schema=SCHEMA) == 0.25
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    assert value(given, "json_schema", schema=str(tmp_path / "schema.json")) == 0.25


def test_a_schema_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no JSON schema"):
        value(rows((None, "1")), "json_schema", schema={"type": "nothing"})
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        value(rows((None, "1")), "json_schema", schema=str(tmp_path / "missing.json"))


@pytest.mark.parametrize("seed", range(8))
def test_sets_of_labels_are_scored_as_scikit_learn_scores_them(seed):
    rng = np.random.default_rng(seed)
    sets = [[sorted(set(rng.choice(list("abcd"), rng.integers(0, 4)))) for _ in range(2)] for _ in range(20)]
    given = as_json(*sets)
    both = MultiLabelBinarizer().fit([*(one for pair in sets for one in pair)])
    want, got = both.transform([one for one, _ in sets]), both.transform([other for _, other in sets])
    found = values(given, "multi_label")
    assert found["multi_label.subset_accuracy"] == pytest.approx(sklearn.accuracy_score(want, got))
    jaccard = sklearn.jaccard_score(want, got, average="samples", zero_division=1)
    assert found["multi_label.jaccard"] == pytest.approx(jaccard)
    for average in ("micro", "macro", "weighted", "samples"):
        theirs = sklearn.f1_score(want, got, average=average, zero_division=1.0 if average == "samples" else 0.0)
        assert found[f"multi_label.f1.{average}"] == pytest.approx(theirs)
    resamples_as_recomputed(given, "multi_label", seed)


def test_sets_may_lie_in_a_field_and_answers_may_be_nonsense():
    given = rows(('{"tags": ["a", "b"]}', '{"tags": ["b", "a"]}'), ('{"tags": ["a"]}', "a"))
    assert values(given, "multi_label", field="tags")["multi_label.subset_accuracy"] == 0.5
    assert "no reference is a JSON list" in reason(rows(("a", "a")), "multi_label")


@pytest.mark.parametrize("seed", range(8))
def test_tags_are_scored_as_seqeval_scores_them(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, 15)
    want, got = ([rng.choice(TAGS, length).tolist() for length in lengths] for _ in range(2))
    given = as_json(*zip(want, got, strict=True))
    found = values(given, "entities")
    for name in ("precision", "recall", "f1"):
        for average in ("micro", "macro", "weighted"):
            theirs = getattr(seqeval, f"{name}_score")(want, got, average=average, zero_division=0)
            assert found[f"entities.{name}.{average}"] == pytest.approx(float(theirs))
    assert found["entities.same_length"] == 1.0
    resamples_as_recomputed(given, "entities", seed)


def test_too_few_or_too_many_tags_are_the_models_mistake():
    want = ["B-PER", "O", "B-LOC"]
    given = as_json((want, ["B-PER"]), (want, [*want, "B-LOC"]), (want, "nothing"), (want, ["person", "O", "3"]))
    found = values(given, "entities")
    assert found["entities.same_length"] == 0.25
    assert found["entities.recall.micro"] == pytest.approx(3 / 8)
    assert found["entities.precision.micro"] == 1.0


def test_entities_may_be_objects_and_references_must_be_entities():
    want = [{"type": "PER", "text": "Ada"}, {"type": "LOC", "text": "Rome"}]
    found = values(as_json((want, [want[0], {"type": "LOC", "text": "Ada"}])), "entities")
    assert found["entities.f1.micro"] == 0.5
    assert "entities.same_length" not in found
    with pytest.raises(
        DataError, match=r"rows:0: metric entities: found the reference .*; expected a JSON list of tags"
    ):
        values(as_json(({"a": 1}, [])), "entities")


@pytest.mark.parametrize("seed", range(10))
def test_ranked_lists_are_scored_as_torchmetrics_scores_them(seed):
    rng = np.random.default_rng(seed)
    gains = rng.integers(0, 4, 12)
    gains[rng.integers(12)] = 2
    order = rng.permutation(12)
    scores = torch.empty(12).index_copy_(0, torch.tensor(order), torch.arange(12, 0, -1.0))
    grades = {str(at): int(gain) for at, gain in enumerate(gains)}
    found = values(as_json((grades, [str(at) for at in order])), "retrieval", k=[3, 12])
    target = torch.tensor(gains)
    assert found["mrr"] == pytest.approx(float(torchmetrics.retrieval_reciprocal_rank(scores, target > 0)))
    assert found["map"] == pytest.approx(float(torchmetrics.retrieval_average_precision(scores, target > 0)))
    for k in (3, 12):
        assert found[f"ndcg@{k}"] == pytest.approx(float(torchmetrics.retrieval_normalized_dcg(scores, target, k)))
        for name in ("recall", "precision", "hit_rate"):
            theirs = getattr(torchmetrics, f"retrieval_{name}")(scores, target > 0, k)
            assert found[f"{name}@{k}"] == pytest.approx(float(theirs)), name


def test_ranked_lists_may_lie_in_columns_and_be_short_doubled_or_nonsense():
    lists = [["b", "b", "a"], [], "a", None]
    given = Rows([Prediction("", None, None, columns={"hits": one, "gold": "a"}) for one in lists])
    found = values(given, "retrieval", ranked="hits", relevant="gold", k=1)
    assert found["mrr"] == 0.5 / 4
    assert found["recall@1"] == 0.0
    assert "something relevant" in reason(rows((None, '["a"]')), "retrieval")
    with pytest.raises(ConfigError, match="from 1"):
        values(given, "retrieval", k=[0])


def test_dialogues_succeed_by_note_or_column():
    noted = [Prediction("", None, None, notes={"success": one}) for one in ("yes", "Unresolved", 0.5, None)]
    assert value(Rows(noted), "dialogue_success") == 0.5
    columned = Rows([Prediction("d:3", None, None, columns={"outcome": "perhaps"})])
    assert "no row has a note" in reason(columned, "dialogue_success")
    with pytest.raises(DataError, match=r"d:3: .* found 'perhaps' in 'outcome'; expected yes or no"):
        value(columned, "dialogue_success", source="outcome")


def test_arguments_that_a_metric_lacks_are_refused():
    with pytest.raises(ConfigError, match="accuracy: got an unexpected keyword argument 'deep'"):
        value(rows(("a", "a")), "accuracy", deep=True)
