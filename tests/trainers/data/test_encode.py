"""Rows that are not text: tokens, and JSON that is hard to hold."""

import json

import pyarrow as pa
import pytest

from cluster.config import DataConfig
from cluster.exceptions import DataError
from trainers.data.encode import Encoder, load_row
from trainers.data.sources import Sources, locate


def test_rows_that_are_tokenised_already_are_taken_as_they_are(tokenizer):
    rows = [
        {"input_ids": [5, 6, 7]},
        {"input_ids": [5, 6, 7, 0], "labels": [-100, -100, 7, 0], "attention_mask": [1, 1, 1, 0]},
    ]
    block = pa.table({"file": [0] * 2, "position": range(2), "row": [json.dumps(row) for row in rows]})
    whole, masked = Encoder(Sources((), ()), DataConfig(train="unused"), tokenizer)(block)
    assert whole.ids.tolist() == masked.ids.tolist() == [5, 6, 7]
    assert whole.labels.tolist() == [-100, 6, 7], "nothing comes before the first token"
    assert masked.labels.tolist() == [-100, -100, 7]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"input_ids": [5, 10**6]}, "the token id 1000000 is not one of the tokenizer's"),
        (
            {"input_ids": [5, 6], "labels": [-100, 7]},
            r"labels\[1\] is 7 and input_ids\[1\] is 6; expected the same id, or -100",
        ),
    ],
)
def test_tokens_that_the_model_lacks_are_refused_before_training(tokenizer, tmp_path, row, sentence):
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    sources = locate(str(tmp_path / "a.jsonl"))
    encoder = Encoder(sources, DataConfig(train="unused"), tokenizer)
    with pytest.raises(DataError, match=f"a.jsonl:1: {sentence}"):
        encoder(next(sources.plans[0].blocks()))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "JSON that cannot be read"),
        ('{"text": ' + "1" * 5000 + "}", "JSON that cannot be read"),
        (r'{"text": "half \ud83d of it"}', r"holds \\ud83d, half of a character"),
    ],
)
def test_json_that_python_or_arrow_would_stumble_over_is_one_sentence(text, sentence):
    with pytest.raises(DataError, match=sentence):
        load_row(text)
    assert load_row(r'{"text": "whole \ud83d\ude80"}') == {"text": "whole 🚀"}
