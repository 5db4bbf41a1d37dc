"""Shapes beyond text to generate: read from every layout, written in canonical form, read back from it."""

import json

import pytest

from cluster.config import Columns, DataConfig
from cluster.exceptions import DataError
from trainers.data.record import Record
from trainers.data.shapes import (
    SHAPES,
    MultiLabelText,
    Preference,
    PromptOnly,
    Stepwise,
    TaggedTokens,
    TextPair,
    TokenIds,
    Unpaired,
    detect,
    read_example,
    read_row,
    to_row,
)

USER = {"role": "user", "content": "Hi"}
GOOD = {"role": "assistant", "content": "Hello"}
BAD = {"role": "assistant", "content": "Go away"}
CHAT = Preference([USER], [GOOD], [BAD])
AUTO = DataConfig(train="rows.jsonl")

READ = [
    ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}, Preference("Hi", "Hello", "Go away")),
    ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, CHAT),
    ({"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, CHAT),
    ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, CHAT),
    ({"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "Go away"}, CHAT),
    ({"question": "Hi", "chosen": "Hello", "rejected": "Go away"}, CHAT),
    (
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": json.dumps({"from": "gpt", "value": "Go away"}),
        },
        CHAT,
    ),
    ({"messages": [USER, GOOD], "rejected_response": "Go away"}, CHAT),
    (
        {"messages": [USER, GOOD], "rejected_response": "Go away", "system": "Be kind."},
        Preference([{"role": "system", "content": "Be kind."}, USER], [GOOD], [BAD]),
    ),
    ({"prompt": "Hi", "completion": "Hello", "label": True}, Unpaired("Hi", "Hello", True)),
    ({"prompt": "Hi", "completion": "Hello", "label": "false"}, Unpaired("Hi", "Hello", False)),
    ({"prompt": [USER], "completion": [GOOD], "label": 1}, Unpaired([USER], [GOOD], True)),
    ({"messages": [USER, GOOD], "kto_tag": False}, Unpaired([USER], [GOOD], False)),
    ({"instruction": "Hi", "output": "Hello", "kto_tag": True}, Unpaired([USER], [GOOD], True)),
    (
        {"prompt": "2+2+2", "completions": ["2+2=4", "4+2=7"], "labels": [True, False]},
        Stepwise("2+2+2", ["2+2=4", "4+2=7"], [True, False]),
    ),
    ({"prompt": "How many?", "ground_truth": "4"}, PromptOnly("How many?")),
    ({"prompt": [USER]}, PromptOnly([USER])),
    ({"tokens": ["Anna", "sings"], "ner_tags": ["PER", "O"]}, TaggedTokens(["Anna", "sings"], ["PER", "O"])),
    ({"tokens": ["Anna"], "labels": [3]}, TaggedTokens(["Anna"], ["3"])),
    ({"anchor": "a", "positive": "b"}, TextPair("a", "b")),
    ({"query": "a", "positive": "b", "negative": "c"}, TextPair("a", "b", "c")),
    ({"input_ids": [5, 6, 7]}, TokenIds([5, 6, 7])),
    (
        {"input_ids": [5, 6, 7, 0], "labels": [-100, 6, 7, -100], "attention_mask": [1, 1, 1, 0]},
        TokenIds([5, 6, 7], [-100, 6, 7]),
    ),
]


@pytest.mark.parametrize(("row", "expected"), READ)
def test_every_layout_is_read_and_its_canonical_row_read_back(row, expected):
    example, _ = read_row(row, AUTO, to_learn=False)
    assert example == expected
    canonical = json.loads(json.dumps(to_row(example)))
    assert read_row(canonical, AUTO, to_learn=False) == (expected, {})


def test_several_classes_are_told_from_one_by_the_value():
    row = {"text": "Hi", "labels": ["greeting", 3]}
    example, _ = read_row(row, AUTO, classification=True, to_learn=False)
    assert example == MultiLabelText("Hi", ["greeting", "3"])
    assert read_row(to_row(example), AUTO, classification=True, to_learn=False)[0] == example
    assert detect({"text": "Hi", "labels": "greeting"}, AUTO, classification=True) == "text_label"


def test_the_columns_that_are_not_learnt_from_are_handed_on_and_only_those():
    row = {"instruction": "Hi", "input": "", "output": "Hello", "user": 7, "system": ""}
    assert read_row(row, AUTO)[1] == {"user": 7}
    judged = {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD], "score": 3}
    assert read_row(judged, AUTO, to_learn=False)[1] == {"score": 3}
    assert read_row({"prompt": "Hi", "completion": "Hello", "label": "greeting"}, AUTO)[1] == {"label": "greeting"}
    assert read_row({"prompt": "How many?", "answer_key": "4"}, AUTO, to_learn=False)[1] == {"answer_key": "4"}


@pytest.mark.parametrize(
    ("row", "shape"), [(READ[0][0], "preference"), (READ[9][0], "unpaired"), (READ[16][0], "prompt_only")]
)
def test_training_refuses_what_no_objective_learns_and_says_which_do(row, shape):
    with pytest.raises(
        DataError, match=f"shape {shape} can be .* no objective learns .*sft learns from messages, .*text_label"
    ):
        read_example(row, AUTO)


def test_the_answers_of_a_judged_row_can_be_learnt_when_the_shape_says_so():
    row = {"prompt": "Hi", "completion": "Hello", "label": True}
    config = DataConfig(train="x", shape="prompt_completion")
    assert to_row(read_example(row, config)) == {"prompt": "Hi", "completion": "Hello"}
    chosen = DataConfig(train="x", shape="prompt_completion", columns=Columns(completion="chosen"))
    assert to_row(read_example(READ[0][0], chosen)) == {"prompt": "Hi", "completion": "Hello"}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"prompt": "Hi", "chosen": "a", "rejected": " "}, "an empty rejected answer"),
        ({"prompt": "Hi", "chosen": "a", "rejected": None}, "an empty answer"),
        ({"chosen": [USER, GOOD], "rejected": [GOOD, BAD]}, "do not part after a common prompt"),
        ({"messages": [USER], "rejected_response": "b"}, "expected a prompt with an assistant message as its last"),
        ({"messages": [USER, GOOD], "kto_tag": "maybe"}, 'label of an unpaired row is "maybe", expected true or false'),
        ({"prompt": "p", "completions": ["a", "b"], "labels": [True]}, r"labels is \[true\], expected .* each of 2"),
        ({"prompt": "p", "completions": [], "labels": []}, r"completions is \[\], expected a list of texts"),
        ({"prompt": [USER, GOOD]}, "the prompt ends with an assistant message"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "found 1 tags for 2 tokens"),
        ({"anchor": "a", "positive": ""}, "an empty positive"),
        ({"input_ids": [1, None]}, r"input_ids is \[1, null\], expected a list of token ids"),
        ({"input_ids": [1, 2], "labels": [1]}, "labels has 1 entries and input_ids 2"),
        ({"messages": [None]}, "a message is null, expected an object"),
        ({"messages": None}, "the conversation is null"),
        ({"messages": [{"role": None, "content": None}]}, "a message has the role null"),
        ({"messages": [{"role": ["user"], "content": "Hi"}]}, r'the role \["user"\], expected one of'),
        ({"messages": [USER, GOOD], "tools": [None]}, "a tool is null"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [None]}]}, "tool_calls is .null., expected a list of"),
        ({"instruction": "Hi", "output": "Hello", "history": [[None, None]]}, "the instruction is null"),
        ({"instruction": "Hi", "output": "Hello", "history": 3}, "history is 3, expected pairs"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": None}]}]}, "an empty answer"),
    ],
)
def test_a_row_with_a_hole_in_it_is_one_sentence(row, sentence):
    with pytest.raises(DataError, match=sentence):
        read_row(row, AUTO, to_learn=False)


def test_roles_and_keys_of_messages_can_be_named():
    columns = Columns(messages="dialog", role="who", content="said", roles={"customer": "user", "agent": "assistant"})
    config = DataConfig(train="x", shape="messages", columns=columns)
    row = {"dialog": [{"who": "customer", "said": "Hi"}, {"who": "agent", "said": "Hello"}]}
    assert to_row(read_example(row, config)) == {"messages": [USER, GOOD]}
    with pytest.raises(DataError, match=r'the role "bossman", expected one of agent, .*data.columns.roles'):
        read_example({"dialog": [{"who": "bossman", "said": "Hi"}]}, config)


@pytest.mark.parametrize(("row", "example"), [pair for pair in READ if not isinstance(pair[1], TokenIds)])
def test_stages_find_every_text_of_every_shape(row, example):
    record = Record(to_row(read_row(row, AUTO, to_learn=False)[0]))
    said = json.dumps(to_row(example))
    for text in record.texts():
        said = said.replace(json.dumps(text), "null")
    left = [word for word in ("Hi", "Hello", "Go away", "2+2", "How many", "Anna", "Be kind") if word in said]
    assert record.texts() and not left
    assert record.map_texts("<{}>".format) and all(text.startswith("<") for text in record.texts())


def test_every_shape_has_a_reader_and_a_name_in_the_config():
    names = DataConfig.model_json_schema()["properties"]["shape"]["enum"]
    assert set(names) == {"auto", *SHAPES}
