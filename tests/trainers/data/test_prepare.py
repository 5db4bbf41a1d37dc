"""From files to stored sequences: what is learnt, counted, refused and remembered."""

import concurrent.futures
import json
import logging

import numpy as np
import pytest

from cluster.exceptions import DataError
from trainers.data.encode import IGNORED
from trainers.data.store import Prepared

from .conftest import chat


def rows_of(split) -> list[tuple[list[int], list[int]]]:
    """The rows inside the sequences of a split: ids and labels."""
    rows = []
    for sequence in split.read(range(split.num_sequences)).to_pylist():
        start = 0
        for length in sequence["row_lengths"]:
            rows.append((sequence["input_ids"][start : start + length], sequence["labels"][start : start + length]))
            start += length
        assert start == len(sequence["input_ids"])
    return rows


def many(count: int) -> list[dict]:
    return [chat(f"Question {number}?", f"Answer {number}, {'and so on ' * (number % 5)}.") for number in range(count)]


def test_each_row_is_in_exactly_one_sequence_with_loss_on_its_answer(prepared, write_rows, tokenizer):
    data = prepared(write_rows(many(40)))
    train = data.splits["train"]
    rows = rows_of(train)
    assert sorted(tokenizer.decode([label for label in labels if label != IGNORED]) for _, labels in rows) == sorted(
        f"Answer {number}, {'and so on ' * (number % 5)}.<|im_end|>" for number in range(40)
    )
    expected = tokenizer.apply_chat_template(many(40)[7]["messages"], tokenize=True, return_dict=False)
    assert expected in [ids for ids, _ in rows]
    assert train.num_rows == 40 > train.num_sequences
    assert train.lengths.max() <= 64
    assert train.num_tokens == train.lengths.sum() == sum(len(ids) for ids, _ in rows)
    assert train.num_loss_tokens == sum(label != IGNORED for _, labels in rows for label in labels)


def test_rows_that_are_measured_on_and_learnt_from_are_counted_and_said(prepared, write_rows, caplog):
    train, test = write_rows(many(20)), write_rows([*many(3), chat("New?", "Yes.")], "test.jsonl")
    with caplog.at_level(logging.WARNING):
        data = prepared(train, test=test)
    assert data.report["test"]["rows_in_train"] == 3 and data.report["train"]["rows_in_train"] == 0
    assert "test: 3 of 4 rows are also training rows" in caplog.text


def test_sequences_are_read_in_any_order_by_any_process(prepared, write_rows):
    train = Prepared.open(prepared(write_rows(many(40))).url).splits["train"]
    everything = train.read(range(train.num_sequences))
    order = np.random.default_rng(0).permutation(train.num_sequences)
    assert train.read(order).to_pylist() == [everything.to_pylist()[index] for index in order]
    assert train.read([]).num_rows == 0
    assert [len(ids) for ids in everything["input_ids"].to_pylist()] == train.lengths.tolist()


def test_the_same_input_is_prepared_once_and_in_the_same_order(prepared, write_rows, tmp_path, monkeypatch):
    path = write_rows(many(30))
    first = prepared(path)
    manifest = json.loads((tmp_path / "prepared" / first.fingerprint / "manifest.json").read_text())
    with monkeypatch.context() as patched:
        patched.setattr("trainers.data.prepare.read", None)  # no pipeline may run
        assert prepared(path).url == first.url
        assert prepared(path, seed=5).url == first.url
    assert prepared(path, max_length=32).url != first.url
    sequences = first.splits["train"].read(range(first.splits["train"].num_sequences)).to_pylist()
    (tmp_path / "prepared" / first.fingerprint / "manifest.json").unlink()
    again = prepared(path)
    assert again.url == first.url
    assert again.splits["train"].read(range(again.splits["train"].num_sequences)).to_pylist() == sequences
    assert manifest["splits"]["train"]["num_rows"] == 30


def test_changed_content_is_prepared_anew(prepared, write_rows):
    first = prepared(write_rows(many(10)))
    second = prepared(write_rows([*many(9), chat("Question 9?", "Another answer.")]))
    assert first.fingerprint != second.fingerprint


def test_many_files_and_windows_keep_the_order_of_the_rows(prepared, write_rows, monkeypatch):
    monkeypatch.setattr("trainers.data.prepare.ROWS_PER_WINDOW", 16)
    paths = [write_rows([{"text": f"{file} {row}"} for row in range(40)], f"{file}.jsonl") for file in "abc"]
    data = prepared(paths, packing=False)
    train = data.splits["train"]
    assert len(train.files) > 3
    from_first = [sum(ids) for ids, _ in rows_of(train)]
    assert from_first == [sum(ids) for ids, _ in rows_of(prepared(paths, packing=False, system="x").splits["train"])]
    assert data.report["train"]["rows_of_source"] == dict.fromkeys(paths, 40)


def test_truncation_is_counted_and_said(prepared, write_rows, caplog):
    long_answer = chat("Short?", "long answer " * 60)
    no_room = chat("long question " * 60, "Answer.")
    with caplog.at_level(logging.WARNING, logger="trainers.data.prepare"):
        data = prepared(write_rows([*many(5), long_answer, no_room]))
    report = data.report["train"]
    assert (report["rows"], report["truncated_rows"], report["dropped_rows"]) == (7, 2, 1)
    assert report["truncated_tokens"] > 100
    assert data.splits["train"].num_rows == 6
    assert len(caplog.records) == 1
    assert "2 of 7 rows are longer than data.max_length=64 and were cut" in caplog.text


def test_validation_rows_are_held_out_by_content(prepared, write_rows, tokenizer):
    rows = many(60)
    data = prepared(write_rows(rows + rows[:20]), val_size=0.3, max_length=128)

    def answers(split: str) -> set[str]:
        return {tokenizer.decode(ids) for ids, _ in rows_of(data.splits[split])}

    assert not answers("train") & answers("validation")
    assert len(answers("train") | answers("validation")) == 60
    assert data.splits["train"].num_rows + data.splits["validation"].num_rows == 80
    assert 8 <= data.splits["validation"].num_rows <= 40


def test_text_rows_and_completions_carry_loss_where_they_should(prepared, write_rows, tokenizer):
    data = prepared(write_rows([{"text": "Hello order"}, {"prompt": "Where is", "completion": " my order?"}]))
    learnt = [
        tokenizer.decode([label for label in labels if label != IGNORED]) for _, labels in rows_of(data.splits["train"])
    ]
    whole = [tokenizer.decode(ids) for ids, _ in rows_of(data.splits["train"])]
    assert whole == ["Hello order<|im_end|>", "Where is my order?<|im_end|>"]
    first_token = tokenizer.decode(tokenizer("Hello order")["input_ids"][:1])
    assert learnt == ["Hello order<|im_end|>".removeprefix(first_token), " my order?<|im_end|>"]


def test_classes_are_numbered_by_name_and_kept_apart(prepared, write_rows):
    train = write_rows([{"text": f"text {number}", "label": ["b", "c", "a"][number % 3]} for number in range(12)])
    test = write_rows([{"text": "other", "label": "c"}], "test.jsonl")
    data = prepared(train, objective="classification", test=test)
    assert data.labels == ["a", "b", "c"]
    split = data.splits["train"]
    assert split.num_sequences == split.num_rows == 12
    assert split.read([0, 1, 2, 5]).column("label").to_pylist() == [1, 2, 0, 0]
    assert data.splits["test"].read([0]).column("label").to_pylist() == [2]


def test_numbers_as_classes_are_ordered_as_numbers(prepared, write_rows):
    data = prepared(
        write_rows([{"text": f"t{number}", "label": number} for number in range(12)]), objective="classification"
    )
    assert data.labels == [str(number) for number in range(12)]


def test_a_class_that_only_held_out_rows_have_is_kept_and_said(prepared, write_rows, caplog):
    rows = [{"text": f"text {number}", "label": f"class {number}"} for number in range(20)]
    data = prepared(write_rows(rows), objective="classification", val_size=0.3)
    assert len(data.labels) == 20
    assert "labels only in held-out rows" in caplog.text


def test_two_runs_may_prepare_the_same_at_once(prepared, write_rows):
    path = write_rows(many(20))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(prepared, [path, path])
    assert first.url == second.url
    assert rows_of(first.splits["train"]) == rows_of(second.splits["train"])


def test_parquet_conversations_with_null_keys_are_read(prepared, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    turn = pa.struct([(name, pa.string()) for name in ("role", "content", "from", "value")])
    messages = [{"role": "user", "content": "Hi"}, {"from": "gpt", "value": "Hello"}]
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"messages": pa.array([messages], pa.list_(turn))}), path)
    assert prepared(str(path)).splits["train"].num_rows == 1


def test_a_long_text_keeps_the_token_that_ends_it(prepared, write_rows, tokenizer):
    data = prepared(
        write_rows([{"text": "word " * 200, "label": "a"}, {"text": "x", "label": "b"}]), objective="classification"
    )
    assert data.splits["train"].lengths.tolist() == [64, 1]
    assert data.report["train"]["truncated_rows"] == 1


@pytest.mark.parametrize(
    ("rows", "data", "sentence"),
    [
        ([chat("a", "b"), {"foo": 1}], {}, r"rows.jsonl:2: found the columns foo, which are of no known shape"),
        ([chat("a", "b"), chat("c", "")], {}, r"rows.jsonl:2: an empty answer"),
        ([{"text": "a", "label": "x"}, {"text": " ", "label": "y"}], {"objective": "classification"}, "rows.jsonl:2: an empty text"),
        ([chat("long question " * 60, "a")], {}, "none of the 1 rows has a token to learn within data.max_length=64"),
        ([chat("a", "b")], {"val_size": 0.5}, r"data.val_size=0.5 leaves no rows for (train|validation)"),
        ([{"messages": [{"role": "user", "content": "a"}]}], {}, "rows.jsonl:1: no assistant message"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_one_sentence(prepared, write_rows, tmp_path, capfd, *, rows, data, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        prepared(write_rows(rows), **data)
    assert type(caught.value) is DataError and "\n" not in str(caught.value)
    assert not list((tmp_path / "prepared").glob("*/part-*"))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_line_that_is_not_json_is_named(prepared, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x"}\n\n{"text": \n')
    with pytest.raises(DataError, match=r"rows.jsonl:3: not JSON \(Expecting value at column 10\)"):
        prepared(str(path))


def test_a_file_that_cannot_be_read_on_is_named(prepared, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion\na,b\nc,d,e\n")
    with pytest.raises(DataError, match=r"rows.csv:3: found 3 fields, expected 2") as caught:
        prepared(str(path))
    assert type(caught.value) is DataError


def test_a_class_that_training_never_saw_is_named(prepared, write_rows):
    train = write_rows([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    test = write_rows([{"text": "c", "label": "x"}, {"text": "d", "label": "z"}], "test.jsonl")
    with pytest.raises(DataError, match=r"test.jsonl:2: the label 'z' is in no training row; expected one of 2 labels"):
        prepared(train, objective="classification", test=test)


def test_banking77_keeps_its_77_intents(prepared, shared_data):
    data = prepared(
        str(shared_data / "banking77" / "train.csv"),
        objective="classification",
        test=str(shared_data / "banking77" / "test.csv"),
    )
    assert (data.splits["train"].num_rows, data.splits["test"].num_rows, len(data.labels)) == (10_003, 3_080, 77)


def test_alpaca_and_gsm8k_are_read_as_they_are(prepared, shared_data):
    paths = [
        str(shared_data / "llamafactory_demo" / "alpaca_en_demo.json"),
        str(shared_data / "gsm8k" / "test.jsonl"),
    ]
    data = prepared(paths, max_length=1024)
    assert data.report["train"]["rows_of_source"] == {paths[0]: 999, paths[1]: 1319}
    assert data.splits["train"].num_tokens / (data.splits["train"].num_sequences * 1024) > 0.97
