"""Which tokens carry loss, for chat templates that have little in common."""

import copy
import json

import pyarrow as pa
import pytest
from tokenizers.processors import TemplateProcessing

from cluster.config import DataConfig
from cluster.exceptions import DataError
from trainers.data.encode import Encoder
from trainers.data.sources import Sources
from trainers.data.template import (
    CHATML,
    PROBES,
    render,
    render_many,
    render_with_spans,
    renderable_probes,
    tokenize_conversation,
)
from trainers.tokenizer import with_chat_template

LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (  # no system role, no generation prompt, tools before the last question only
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{% if tools and loop.index0 >= messages | length - 2 %}"
    "{{ '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}"
    "{% endif %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + '</s>' }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{{ message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN3 = (  # the last answer gets an empty thought, earlier ones lose theirs
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GENERATION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "chatml": (CHATML, "{}<|im_end|>"),
    "llama3": (LLAMA3, "{}<|eot_id|>"),
    "mistral": (MISTRAL, " {}</s>"),
    "zephyr": (ZEPHYR, "{}<|im_end|>"),
    "gemma": (GEMMA, "{}<end_of_turn>"),
    "generation": (GENERATION, "{}<|im_end|>"),
}
SPECIALS = [
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "</s>", "<s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>",
]  # fmt: skip
CONVERSATION = [
    {"role": "user", "content": "Where is my order 12345?"},
    {"role": "assistant", "content": "It was shipped\non Monday. 🚀"},
    {"role": "user", "content": "  And the other? "},
    {"role": "assistant", "content": "It will arrive soon."},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def with_template(tokenizer, template: str):
    changed = copy.deepcopy(tokenizer)
    changed.add_special_tokens({"additional_special_tokens": [*SPECIALS, "<|im_start|>"], "bos_token": "<s>"})
    return with_chat_template(changed, template)


def learnt(tokenizer, messages, tools=None) -> list[str]:
    """The stretches of text that carry loss."""
    ids, mask = tokenize_conversation(tokenizer, messages, tools)
    stretches: list[list[int]] = []
    for position, (token, carries) in enumerate(zip(ids, mask, strict=True)):
        if carries and (position == 0 or not mask[position - 1]):
            stretches.append([])
        if carries:
            stretches[-1].append(token)
    return [tokenizer.decode(stretch) for stretch in stretches]


@pytest.mark.parametrize("name", TEMPLATES)
def test_only_the_answers_and_their_end_carry_loss(tokenizer, name):
    template, answer = TEMPLATES[name]
    expected = [answer.format("It was shipped\non Monday. 🚀"), answer.format("It will arrive soon.")]
    assert learnt(with_template(tokenizer, template), CONVERSATION) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_training_sees_the_ids_of_apply_chat_template(tokenizer, name):
    changed = with_template(tokenizer, TEMPLATES[name][0])
    expected = changed.apply_chat_template(CONVERSATION, tokenize=True, return_dict=False)
    assert tokenize_conversation(changed, CONVERSATION)[0] == expected
    assert render(changed, CONVERSATION) == expected


def test_tools_in_front_of_the_last_question_do_not_move_the_earlier_answer(tokenizer):
    changed = with_template(tokenizer, MISTRAL)
    assert learnt(changed, CONVERSATION, TOOLS) == [" It was shipped\non Monday. 🚀</s>", " It will arrive soon.</s>"]


def test_a_template_that_thinks_only_at_the_end_is_followed(tokenizer):
    changed = with_template(tokenizer, QWEN3)
    assert learnt(changed, CONVERSATION) == [
        "It was shipped\non Monday. 🚀<|im_end|>",
        "<think>\n\n</think>\n\nIt will arrive soon.<|im_end|>",
    ]


def test_a_tool_call_is_learnt_and_its_result_is_not(tokenizer):
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    messages = [
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]
    text = tokenizer.decode(render(tokenizer, messages, TOOLS))
    assert text.count("You are helpful.") == 1 and '"weather"' in text
    assert learnt(tokenizer, messages, TOOLS) == [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>',
        "It is sunny.<|im_end|>",
    ]


def test_the_generation_prompt_is_how_the_answer_is_led_up_to(tokenizer):
    ids, mask = tokenize_conversation(tokenizer, CONVERSATION[:2])
    prompt = render(tokenizer, CONVERSATION[:1], add_generation_prompt=True)
    assert ids[: len(prompt)] == prompt and sum(mask[: len(prompt)]) == 0 and mask[len(prompt)] == 1


def test_an_answer_that_the_template_rewrites_is_refused(tokenizer):
    rewriting = "{% for message in messages %}{{ message['content'] if loop.last else message['content'] | upper }}"
    changed = with_template(tokenizer, rewriting + "{% endfor %}")
    with pytest.raises(DataError, match="rewrites the answer of message 2"):
        tokenize_conversation(changed, CONVERSATION)


def test_a_role_that_the_template_does_not_know_is_one_sentence(tokenizer):
    with pytest.raises(DataError, match=r"System role not supported.*found the roles system, user, assistant"):
        render(with_template(tokenizer, GEMMA), [{"role": "system", "content": "Hi"}, *CONVERSATION[:2]])


def test_the_beginning_is_marked_once_by_template_or_by_tokenizer(tokenizer):
    changed = with_template(tokenizer, MISTRAL)
    changed.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(token, changed.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")],
    )
    changed.eos_token = "</s>"
    assert changed("Hello")["input_ids"][0] == changed.bos_token_id
    assert render(changed, CONVERSATION).count(changed.bos_token_id) == 1

    rows = [{"messages": CONVERSATION}, {"text": "Hello"}, {"prompt": "Hello", "completion": " you"}]
    block = pa.table({"file": [0] * 3, "position": range(3), "row": [json.dumps(row) for row in rows]})
    encoder = Encoder(Sources((), ()), DataConfig(train="unused"), changed)
    for tokens in encoder(block):
        assert tokens.ids.tolist().count(changed.bos_token_id) == 1
        assert tokens.ids[0] == changed.bos_token_id and tokens.ids[-1] == changed.eos_token_id
    assert [tokens.ids.tolist().count(changed.eos_token_id) for tokens in encoder(block)] == [2, 1, 1]


@pytest.mark.parametrize("name", TEMPLATES)
def test_many_conversations_are_rendered_as_each_by_itself(tokenizer, name):
    changed = with_template(tokenizer, TEMPLATES[name][0])
    ask = {"role": "user", "content": "Where is it?"}
    answers = ["There.", "  there, with blanks  ", "line\n", "<think>so</think> There.", "", "Where is it?"]
    chats = [([ask, {"role": "assistant", "content": answer}], None) for answer in answers]
    chats += [
        ([ask, {"role": "assistant", "content": "There."}] * 2, None),
        (CONVERSATION, None),
        (CONVERSATION[-2:], None),
    ]
    chats += [([ask, {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}], None), ([ask, ask], None)]
    able = []
    for messages, tools in chats:
        try:
            able.append(((messages, tools), render_with_spans(changed, messages, tools)))
        except DataError:
            continue
    assert len(able) > 5
    assert render_many(changed, [chat for chat, _ in able]) == [alone for _, alone in able]


def test_long_rows_are_tokenised_a_few_at_a_time(tokenizer, monkeypatch):
    rows = [json.dumps({"text": "order " * size}) for size in (1, 50, 3, 200, 2, 2)]
    block = pa.table({"file": [0] * 6, "position": range(6), "row": rows})
    encoder = Encoder(Sources((), ()), DataConfig(train="unused", max_length=32), tokenizer)

    def encoded():
        return [(row.ids.tolist(), row.labels.tolist(), row.cut) for row in encoder(block)]

    at_once = encoded()
    monkeypatch.setattr("trainers.data.encode.TEXT_AT_ONCE", 100)
    assert encoded() == at_once
    assert encoder(block.slice(0, 0)) == []


def test_probes_leave_out_what_a_template_cannot_render(tokenizer):
    assert len(renderable_probes(tokenizer)) == len(PROBES)
    kept = renderable_probes(with_template(tokenizer, GEMMA))
    assert 0 < len(kept) < len(PROBES)
    assert all(message["role"] != "system" for probe in kept for message in probe)
