"""From messages to tokens: the chat template, applied once, and which tokens the assistant wrote.

Loss falls on what the model has to produce itself: the text of every assistant message and the token that ends its
turn, not the header that the generation prompt gives it. Where a template marks that itself (`{% generation %}`), its
marks are taken. For any other, the characters of a turn are found by rendering the conversation up to the turn with a
generation prompt, and up to the end of the turn: the difference is what the model writes. Templates that render earlier
turns differently once the conversation goes on (Qwen3 drops empty reasoning, Mistral moves tools and system message
to the last question) are handled by rendering the conversation with a marker in the place of the answer.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.exceptions import DataError, ModelFolderError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
Tools = list[Any] | None
Span = tuple[int, int]

CHATML = (
    "{%- if tools %}{{- '<|im_start|>system\\n' }}"
    "{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}"
    "{{- 'You may call these functions:\\n' }}"
    "{%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if not (tools and loop.first and message.role == 'system') %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content %}{{- message.content }}{%- endif %}"
    "{%- for call in message.tool_calls or [] %}"
    "{%- set function = call.function or call %}"
    '{{- \'<tool_call>\\n{"name": "\' + function.name + \'", "arguments": \' }}'
    "{{- function.arguments if function.arguments is string else function.arguments | tojson }}"
    "{{- '}\\n</tool_call>' }}"
    "{%- endfor %}"
    "{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""What a tokenizer without a template gets. It has no `{% generation %}` marks, so every Jinja can render it."""

_GENERATION_MARK = r"\{%-?\s*generation\s*-?%\}"
MARKER = "\u2060answer-{}-here\u2060"

PROBES: tuple[tuple[Message, ...], ...] = (
    ({"role": "user", "content": "Hello, who are you?"},),
    (
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Where is my order?"},
    ),
    (
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "And times three?"},
    ),
    ({"role": "user", "content": "Grüße aus 東京 🚀👩‍👩‍👧: ça va? ﬁ ½ \u00a0נו"},),
    (
        {
            "role": "user",
            "content": 'def f(x):\n\tif x < 1:\n        return {"a": [1, 2]}\n\n\n    return None  # done\n',
        },
    ),
    ({"role": "user", "content": "  leading, trailing and   inner   spaces  "},),
)
"""Fixed conversations that the endpoint must turn into the same tokens as training."""


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A conversation as text, and the characters of it that carry loss."""

    text: str
    spans: tuple[Span, ...]


def render_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Tools = None,
    add_generation_prompt: bool = False,
) -> str:
    """The conversation as the template writes it.

    Raises:
        ModelFolderError: if there is no template.
        DataError: if the template refuses these messages.
    """
    import jinja2

    if tokenizer.chat_template is None:
        raise ModelFolderError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template; give one as model.chat_template"
        )
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tools=tools, add_generation_prompt=add_generation_prompt, tokenize=False
            )
        )
    except (jinja2.TemplateError, TypeError, KeyError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise DataError(
            f"the chat template refuses the conversation ({str(error) or type(error).__name__}); found the roles {roles}. "
            "Change the rows, data.system or model.chat_template"
        ) from error


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Tools = None,
    add_generation_prompt: bool = False,
) -> list[int]:
    """Token ids of a conversation: what training sees, and what the endpoint must see.

    The template writes the beginning-of-sequence token itself where it wants one, so none is added here.
    """
    text = render_text(tokenizer, messages, tools, add_generation_prompt)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def renderable_probes(tokenizer: PreTrainedTokenizerBase) -> list[list[Message]]:
    """The probes that this template accepts: some know no system role."""
    accepted = []
    for probe in PROBES:
        try:
            render_text(tokenizer, probe, add_generation_prompt=True)
        except DataError:
            continue
        accepted.append([dict(message) for message in probe])
    return accepted


def rendering_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of the token ids that the probes become: two tokenizers with the same one see the same texts."""
    texts = [str(message["content"]) for probe in PROBES for message in probe]
    seen = [list(ids) for ids in tokenizer(texts)["input_ids"]]
    if tokenizer.chat_template:
        for probe in renderable_probes(tokenizer):
            seen += [list(render(tokenizer, probe, add_generation_prompt=asks)) for asks in (True, False)]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:24]


def tokenize_conversation(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Tools = None
) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and a mask that is 1 on the assistant's tokens."""
    [(ids, mask)] = tokenize_rendered(tokenizer, [render_with_spans(tokenizer, messages, tools)])
    return ids, [int(carries) for carries in mask]


def tokenize_rendered(
    tokenizer: PreTrainedTokenizerBase, rendered: Sequence[Rendered]
) -> list[tuple[list[int], np.ndarray]]:
    """Token ids and loss masks (bool) of many texts at once, which is what makes a fast tokenizer fast."""
    if not tokenizer.is_fast:
        raise ModelFolderError(
            f"the tokenizer {tokenizer.name_or_path!r} has no tokenizer.json, so tokens cannot be traced to characters; "
            "convert it to a fast tokenizer"
        )
    if not rendered:
        return []
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encodings = backend.encode_batch([row.text for row in rendered], add_special_tokens=False)
    return [(encoding.ids, _mask(encoding, row)) for encoding, row in zip(encodings, rendered, strict=True)]


def _mask(encoding: Encoding, rendered: Rendered) -> np.ndarray:
    mask = np.zeros(len(encoding), bool)
    for start, end in rendered.spans:
        first = _first_token_from(encoding, rendered.text, start)
        mask[first : _first_token_from(encoding, rendered.text, end)] = True
    return mask


def _first_token_from(encoding: Encoding, text: str, char: int) -> int:
    """The first token that begins at `char` or behind it.

    Characters that belong to no token (white space that a tokenizer swallows) are stepped over; a token that began
    before `char` is not one that the model chooses after the characters before it.
    """
    for position in range(char, len(text)):
        token = encoding.char_to_token(position)
        if token is not None:
            began = encoding.token_to_chars(token)
            if began is None or began[0] >= char:
                return token
    return len(encoding)


def render_with_spans(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Tools = None) -> Rendered:
    """The conversation as text and where in it the assistant's turns lie, end-of-turn tokens included.

    Raises:
        DataError: if the template refuses the messages, or an answer cannot be found in what it writes.
    """
    template = tokenizer.get_chat_template(tools=tools) if tokenizer.chat_template else ""
    if re.search(_GENERATION_MARK, template):
        return _marked_by_template(tokenizer, messages, tools, template)
    text = render_text(tokenizer, messages, tools)
    spans = []
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            span = _span_by_prefix(tokenizer, messages, tools, turn, text) or _span_by_marker(
                tokenizer, messages, tools, turn, text
            )
            spans.append(_without_trailing_layout(tokenizer, text, span))
    return Rendered(text, tuple(spans))


def render_many(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[tuple[Sequence[Message], Tools]]
) -> list[Rendered]:
    """What `render_with_spans` gives for each conversation (messages and tools), in a fraction of the time.

    The usual row ends with its only answer, and what a template writes around an answer is the same for all rows. Of
    such rows only the whole texts are rendered, at once, since most of a rendering's time goes into setting it up.

    Raises:
        DataError: as `render_with_spans`; it does not say which conversation it was.
    """
    found: list[Rendered | None] = [None] * len(conversations)
    frame = _answer_frame(tokenizer, tokenizer.get_chat_template() if tokenizer.chat_template else "")
    if frame is not None:
        prompt, ending = frame
        usual = [index for index, one in enumerate(conversations) if _ends_with_its_only_answer(*one)]
        wholes = _render_at_once(tokenizer, [conversations[index][0] for index in usual])
        for index, whole in zip(usual, wholes, strict=True):
            behind = f"{conversations[index][0][-1]['content']}{ending}"
            if whole.endswith(prompt + behind):
                span = _without_trailing_layout(tokenizer, whole, (len(whole) - len(behind), len(whole)))
                found[index] = Rendered(whole, (span,))
    return [
        one or render_with_spans(tokenizer, messages, tools)
        for one, (messages, tools) in zip(found, conversations, strict=True)
    ]


@functools.lru_cache(maxsize=4)
def _answer_frame(tokenizer: PreTrainedTokenizerBase, template: str) -> tuple[str, str] | None:
    """What the template writes before a last answer (its generation prompt) and behind it; None if that is not so simple."""
    if not template or re.search(_GENERATION_MARK, template):
        return None
    question, answer = PROBES[0][0], "Hello."
    try:
        asked = render_text(tokenizer, [question])
        start = render_text(tokenizer, [question], add_generation_prompt=True)
        whole = render_text(tokenizer, [question, {"role": "assistant", "content": answer}])
    except DataError:
        return None
    prompt = start.removeprefix(asked)
    if not prompt or prompt == start or not whole.startswith(start + answer):
        return None
    return prompt, whole.removeprefix(start + answer)


def _ends_with_its_only_answer(messages: Sequence[Message], tools: Tools) -> bool:
    answers = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
    return (
        not tools and len(messages) > 1 and answers == [len(messages) - 1] and set(messages[-1]) == {"role", "content"}
    )


def _render_at_once(tokenizer: PreTrainedTokenizerBase, conversations: list[Sequence[Message]]) -> list[str]:
    """Several conversations as text; none if the template refuses any, for then each has to be looked at by itself."""
    import jinja2

    if not conversations:
        return []
    try:
        found: Any = tokenizer.apply_chat_template([list(messages) for messages in conversations], tokenize=False)
    except (jinja2.TemplateError, TypeError, KeyError):
        return [""] * len(conversations)
    return found


def _marked_by_template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Tools, template: str
) -> Rendered:
    from transformers.utils.chat_template_utils import render_jinja_template

    present = [{key: value for key, value in message.items() if value is not None} for message in messages]
    context: dict[str, Any] = dict(tokenizer.special_tokens_map)
    found: Any = render_jinja_template(
        conversations=[present], tools=tools, chat_template=template, return_assistant_tokens_mask=True, **context
    )
    return Rendered(render_text(tokenizer, messages, tools), tuple((start, end) for start, end in found[1][0]))


def _span_by_prefix(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Tools,
    turn: int,
    text: str,
) -> Span | None:
    """The turn as the difference of two renderings, if both are how `text` begins."""
    try:
        before = render_text(tokenizer, messages[:turn], tools, add_generation_prompt=True) if turn else ""
        after = text if turn == len(messages) - 1 else render_text(tokenizer, messages[: turn + 1], tools)
    except DataError:  # a template may refuse a part of a conversation that it accepts as a whole
        return None
    if text.startswith(after) and after.startswith(before):
        return len(before), len(after)
    return None


def _span_by_marker(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Tools,
    turn: int,
    text: str,
) -> Span:
    """The turn by rendering a marker in the place of its answer, with everything around it as it was."""
    marker = MARKER.format(turn)
    replaced = [*messages[:turn], {**messages[turn], "content": marker}, *messages[turn + 1 :]]
    before, found, behind = render_text(tokenizer, replaced, tools).partition(marker)
    if not found or not text.startswith(before) or not text.endswith(behind) or len(before) + len(behind) > len(text):
        raise DataError(
            f"the chat template rewrites the answer of message {turn + 1} depending on what follows it, so its tokens "
            "cannot be told from the rest; split the conversation so that this answer is the last, or choose a "
            "model.chat_template with {% generation %} marks"
        )
    ending = next((token for token in _special_tokens(tokenizer) if behind.lstrip().startswith(token)), "")
    blank = len(behind) - len(behind.lstrip()) if ending else 0
    start = _start_of_answer(tokenizer, messages[:turn], tools, before)
    return start, len(text) - len(behind) + blank + len(ending)


def _start_of_answer(tokenizer: PreTrainedTokenizerBase, earlier: Sequence[Message], tools: Tools, before: str) -> int:
    """Where the model takes over: blanks before the answer are its own unless the generation prompt ends with them."""
    try:
        prompt = render_text(tokenizer, earlier, tools, add_generation_prompt=True)
    except DataError:  # the template refuses the beginning of the conversation by itself
        return len(before)
    given = len(prompt) - len(prompt.rstrip())
    return min(len(before.rstrip()) + given, len(before))


def end_of_turn_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special token with which the template ends the assistant's turn, where it does: generation has to stop there."""
    ids, mask = tokenize_conversation(tokenizer, [PROBES[0][0], {"role": "assistant", "content": "Hello."}])
    last = [token for token, carries in zip(ids, mask, strict=True) if carries][-1:]
    return [token for token in last if tokenizer.decode([token]) in _special_tokens(tokenizer)]


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Longest first, so that none hides behind its own beginning."""
    return _special_tokens_of(tokenizer, len(tokenizer), tokenizer.eos_token)


@functools.lru_cache(maxsize=4)
def _special_tokens_of(tokenizer: PreTrainedTokenizerBase, size: int, end: str | None) -> tuple[str, ...]:
    """Those of a tokenizer while it has so many tokens and this end token: listing them takes as long as a rendering."""
    del size, end
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added | set(tokenizer.all_special_tokens), key=len, reverse=True))


def _without_trailing_layout(tokenizer: PreTrainedTokenizerBase, text: str, span: Span) -> Span:
    """Leave out the line break that a template puts behind the end-of-turn token: generation stops before it."""
    start, end = span
    body = text[start:end].rstrip()
    if body.endswith(_special_tokens(tokenizer)):
        return start, start + len(body)
    return span
