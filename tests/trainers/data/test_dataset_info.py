"""LLaMA-Factory's list of data sets is read as LLaMA-Factory reads it."""

import json

import pytest

from cluster.config import DataConfig
from cluster.config.data import FileSource
from cluster.exceptions import DataError
from trainers.data.dataset_info import resolve
from trainers.data.shapes import Conversation, Preference, Text, Unpaired, read_row
from trainers.data.sources import examples, locate

CONFIG = DataConfig(train="unused")
USER, GOOD = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
BAD = {"role": "assistant", "content": "Go away"}
OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
DESCRIBED = {
    "plain": ({}, {"instruction": "Hi", "input": "", "output": "Hello"}, Conversation([USER, GOOD])),
    "renamed": (
        {"columns": {"prompt": "content", "query": "more", "response": "summary", "system": "sys", "history": "past"}},
        {"content": "Hi", "more": None, "summary": "Hello", "sys": "", "past": []},
        Conversation([USER, GOOD]),
    ),
    "pretraining": ({"columns": {"prompt": "raw"}}, {"raw": "Hi", "output": "not read"}, Text("Hi")),
    "ranked": (
        {"ranking": True, "columns": {"prompt": "prompt", "chosen": "good", "rejected": "bad"}},
        {"prompt": "Hi", "good": "Hello", "bad": "Go away"},
        Preference([USER], [GOOD], [BAD]),
    ),
    "kto": (
        {"columns": {"prompt": "instruction", "response": "output", "kto_tag": "thumb"}},
        {"instruction": "Hi", "output": "Hello", "thumb": True},
        Unpaired([USER], [GOOD], True),
    ),
    "sharegpt": (
        {"formatting": "sharegpt"},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        Conversation([USER, GOOD]),
    ),
    "sharegpt kto": (
        {"formatting": "sharegpt", "columns": {"messages": "messages", "kto_tag": "label"}, "tags": OPENAI_TAGS},
        {"messages": [USER, GOOD], "label": False},
        Unpaired([USER], [GOOD], False),
    ),
    "sharegpt ranked": (
        {"formatting": "sharegpt", "ranking": True, "columns": {"messages": "turns", "chosen": "a", "rejected": "b"}},
        {
            "turns": [{"from": "human", "value": "Hi"}],
            "a": {"from": "gpt", "value": "Hello"},
            "b": {"from": "gpt", "value": "Go away"},
        },
        Preference([USER], [GOOD], [BAD]),
    ),
    "own tags": (
        {
            "formatting": "sharegpt",
            "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "q", "assistant_tag": "a"},
        },
        {"conversations": [{"who": "q", "said": "Hi"}, {"who": "a", "said": "Hello"}]},
        Conversation([USER, GOOD]),
    ),
}


@pytest.fixture
def listed(tmp_path):
    """Writes a dataset_info.json and gives its path."""

    def listed(entries):
        (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
        return str(tmp_path / "dataset_info.json")

    return listed


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_description_says_how_rows_are_read(listed, tmp_path, name):
    described, row, expected = DESCRIBED[name]
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    sources = locate(FileSource(path=listed({name: {"file_name": "rows.json", **described}}), name=name))
    [(file, _, text)] = [row for plan in sources.plans for row in plan.rows()]
    assert read_row(json.loads(text), sources.settings(file, CONFIG), to_learn=False)[0] == expected
    assert sources.files[0].source == name


def test_a_hub_data_set_keeps_its_split_subset_and_number_of_rows(listed):
    path = listed({"big": {"hf_hub_url": "owner/big", "split": "train_sft", "subset": "en", "num_samples": 7}})
    found = resolve(FileSource(path=f"{path}:big", license="mit", max_rows=3))
    assert (found.path, found.split, found.subset) == ("owner/big", "train_sft", "en")
    assert (found.max_rows, found.license, found.name) == (3, "mit", "big"), "what the entry itself says comes first"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"file_name": "a.json", "columns": {"images": "images"}}, "demo has images, and only text is learnt from"),
        ({"ms_hub_url": "owner/name"}, "demo says where it lies by ms_hub_url, expected file_name or hf_hub_url"),
        ({"file_name": "a.json", "formatting": "odd"}, "demo has formatting 'odd'; expected formatting alpaca"),
        ({"file_name": "a.json", "columns": {"reward": "r"}}, "demo has the columns reward; expected"),
        ({"file_name": "none.json"}, "none.json: there is no such file or folder"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(listed, entry, sentence):
    with pytest.raises(DataError, match=sentence):
        locate(f"{listed({'demo': entry})}:demo")


def test_a_name_that_is_not_listed_is_answered_with_those_that_are(listed):
    path = listed({"one": {"file_name": "a.json"}, "two": {"file_name": "b.json"}})
    with pytest.raises(DataError, match=r"the data set 'three' is not in it; expected one of one, two, as name:"):
        locate(FileSource(path=path, name="three"))
    with pytest.raises(DataError, match="no data set is named"):
        locate(path)


def test_the_real_list_is_read(shared_data):
    path = shared_data / "llamafactory_demo" / "dataset_info.json"
    alpaca = list(examples(f"{path}:alpaca_en_demo", CONFIG, "train"))
    assert len(alpaca) == 999 and all(isinstance(one, Conversation) for one in alpaca)
    assert len(list(examples(f"{path}:c4_demo", CONFIG, "train"))) == 300
    sources = locate(f"{path}:dpo_en_demo")
    rows = [json.loads(text) for plan in sources.plans for _, _, text in plan.rows()]
    read = [read_row(row, sources.settings(0, CONFIG), to_learn=False) for row in rows]
    assert len(read) == 300 and all(isinstance(one, Preference) and not rest for one, rest in read)
    resolvable = 0
    for name in json.loads(path.read_text()):
        try:
            resolve(FileSource(path=f"{path}:{name}"))
            resolvable += 1
        except DataError as error:
            assert "only text is learnt from" in str(error) or "expected file_name or hf_hub_url" in str(error)
    assert resolvable > 80
