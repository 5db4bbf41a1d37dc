"""Rows are understood by their columns, whatever tool they were written for."""

import json

import pytest

from cluster.config import Columns, DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes import Conversation, LabelledText, PromptCompletion, Text, read_example

ANSWERED = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
WITH_SYSTEM = [{"role": "system", "content": "Be kind."}, *ANSWERED]
AUTO = DataConfig(train="rows.jsonl")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": ANSWERED}, Conversation(ANSWERED)),
        ({"messages": json.dumps(ANSWERED)}, Conversation(ANSWERED)),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, ANSWERED[1]]},
            Conversation(ANSWERED),
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
                "system": "Be kind.",
            },
            Conversation(WITH_SYSTEM),
        ),
        ({"instruction": "Hi", "input": "", "output": "Hello"}, Conversation(ANSWERED)),
        ({"instruction": "Hi", "output": "Hello", "system": "Be kind."}, Conversation(WITH_SYSTEM)),
        ({"question": "Hi", "answer": "Hello"}, Conversation(ANSWERED)),
        ({"prompt": "Hi", "response": "Hello"}, Conversation(ANSWERED)),
        ({"prompt": "Hi", "completion": "Hello"}, PromptCompletion("Hi", "Hello")),
        ({"prompt": ANSWERED[:1], "completion": ANSWERED[1:]}, Conversation(ANSWERED)),
        ({"text": "Hi", "url": "https://example.org"}, Text("Hi")),
    ],
)
def test_what_is_generated_is_told_from_the_columns(row, expected):
    assert read_example(row, AUTO) == expected


@pytest.mark.parametrize("column", ["label", "category", "intent", "class", "target"])
@pytest.mark.parametrize(("label", "name"), [("late", "late"), (3, "3"), (True, "true"), (" spaced ", "spaced")])
def test_a_class_is_told_from_the_columns(column, label, name):
    assert read_example({"text": "Hi", column: label}, AUTO, classification=True) == LabelledText("Hi", name)


def test_alpaca_puts_the_input_below_the_instruction_and_the_history_first():
    row = {"instruction": "Add", "input": "1, 2", "output": "3", "history": [["Hi", "Hello"]]}
    assert read_example(row, AUTO) == Conversation(
        [*ANSWERED, {"role": "user", "content": "Add\n1, 2"}, {"role": "assistant", "content": "3"}]
    )


def test_the_configured_system_message_is_put_where_there_is_none():
    config = DataConfig(train="rows.jsonl", system="Be kind.")
    assert read_example({"messages": ANSWERED}, config) == Conversation(WITH_SYSTEM)
    own = [{"role": "system", "content": "Own."}, *ANSWERED]
    assert read_example({"messages": own}, config) == Conversation(own)


def test_columns_can_be_named():
    named = DataConfig(train="rows.csv", columns=Columns(prompt="frage", completion="antwort"))
    assert read_example({"frage": "Hi", "antwort": "Hello"}, named) == PromptCompletion("Hi", "Hello")
    named = DataConfig(train="rows.csv", columns=Columns(text="satz", label="art"))
    assert read_example({"satz": "Hi", "art": "x"}, named, classification=True) == LabelledText("Hi", "x")


def test_sharegpt_tools_become_tool_calls():
    row = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Paris"}}'},
            {"from": "observation", "value": "sunny"},
            {"from": "gpt", "value": "It is sunny."},
        ],
        "tools": '[{"name": "weather"}]',
    }
    example = read_example(row, AUTO)
    assert [message["role"] for message in example.messages] == ["user", "assistant", "tool", "assistant"]
    assert example.messages[1]["tool_calls"][0]["function"]["name"] == "weather"
    served = {"name": "weather", "description": None, "parameters": None}
    assert example.tools == [{"type": "function", "function": served}], "as a chat endpoint hands it to the template"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"foo": 1, "bar": 2}, r"found the columns bar, foo.*no known shape.*messages.*sharegpt.*alpaca"),
        (
            {"prompt": "Hi", "chosen": "a", "rejected": "b"},
            "shape preference can be looked at, but no objective learns",
        ),
        ([1, 2], "found a JSON array, expected an object"),
        ({"messages": []}, r"the conversation is \[\]"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "no assistant message to learn from"),
        ({"messages": [*ANSWERED[:1], {"role": "assistant", "content": " "}]}, "an empty answer"),
        ({"messages": [{"role": "pirate", "content": "Hi"}]}, 'the role "pirate", expected one of'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "expected text parts only"),
        ({"instruction": "Hi", "output": ""}, "an empty answer"),
        ({"instruction": "Hi", "output": None}, "an empty answer"),
        ({"prompt": "Hi", "completion": "\n"}, "an empty answer"),
        ({"text": "  "}, "an empty text"),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_one_sentence(row, sentence):
    with pytest.raises(DataError, match=sentence):
        read_example(row, AUTO)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text": "", "label": "a"}, "an empty text"),
        ({"text": "Hi", "label": ""}, "the label is"),
        ({"text": "Hi", "label": None}, "the label is null"),
        ({"text": "Hi"}, "needs a text and a label column"),
    ],
)
def test_a_row_that_cannot_be_classified_is_one_sentence(row, sentence):
    with pytest.raises(DataError, match=sentence):
        read_example(row, AUTO, classification=True)


def test_a_shape_that_does_not_fit_the_objective_is_refused():
    with pytest.raises(DataError, match="rows of shape messages do not fit"):
        read_example({"messages": ANSWERED}, DataConfig(train="x", shape="messages"), classification=True)
