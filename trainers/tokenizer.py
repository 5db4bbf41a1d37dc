"""The tokenizer of a run: the model's own, or a byte-level BPE trained on the data for models built from scratch.

Whatever it is, it leaves here with a pad token, an end token and a chat template, and a folder that it is saved to
gives the same ids again through `AutoTokenizer`, in training and at the endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.config import Classification, ModelConfig, Pretrained, RunConfig, Scratch
from cluster.exceptions import ModelFolderError
from trainers.data.shapes import Conversation, LabelledText, PromptCompletion, Text
from trainers.data.sources import examples
from trainers.data.template import CHATML
from trainers.models import resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, START, END, END_OF_TEXT = "<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL_TOKENS = (PAD, START, END, END_OF_TEXT)
TRAINING_CHARACTERS = 16 << 20
"""How much text the merges are learnt from: more changes little and takes long."""


def load_tokenizer(model: ModelConfig, texts: Iterable[str] | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a pad token, an end token and a chat template.

    Args:
        texts: what a scratch tokenizer is trained on, streamed; at most `TRAINING_CHARACTERS` of it are read.

    Raises:
        ModelFolderError: if the model has no tokenizer that can be loaded.
    """
    if isinstance(model, Scratch):
        assert texts is not None, "a scratch tokenizer needs texts to be trained on"
        tokenizer: PreTrainedTokenizerBase = train_tokenizer(texts, model.vocab_size, model.max_position_embeddings)
    else:
        tokenizer = _pretrained(model)
    return with_chat_template(_with_pad_and_end(tokenizer), model.chat_template)


def tokenizer_for(config: RunConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that a run would train with, or nearly, before there is a run directory to hold it.

    One that is trained on the spot sees the rows before their stages, and passes over those that cannot be used.
    """
    if not isinstance(config.model, Scratch):
        return load_tokenizer(config.model)
    tolerant = config.model_copy(update={"data": config.data.model_copy(update={"on_error": "reject"})})
    return load_tokenizer(config.model, training_texts(tolerant))


def training_texts(config: RunConfig, files: list[str] | None = None) -> Iterator[str]:
    """The texts of a run's training rows, streamed, for the tokenizer of a model built from scratch.

    Args:
        files: the training rows after the stages, where there are stages.
    """
    classification = isinstance(config.train.objective, Classification)
    for example in examples(files or config.data.train, config.data, "train", classification):
        match example:
            case Conversation(messages=messages):  # roles included: the template writes them into every row
                yield from (f"{message['role']}\n{message['content']}" for message in messages)
            case PromptCompletion(prompt=prompt, completion=completion):
                yield prompt + completion
            case Text(text=text) | LabelledText(text=text):
                yield text


def _pretrained(model: Pretrained) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(resolve_model(model.name_or_path), revision=model.revision)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(
            f"model.name_or_path={model.name_or_path}: no tokenizer could be loaded ({reason}); expected a Hub id or a "
            "folder with tokenizer.json and tokenizer_config.json"
        ) from error


def _with_pad_and_end(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Encoders end with [SEP] and never generate; causal models without a pad token pad with their end token."""
    if tokenizer.eos_token is None:
        end = tokenizer.sep_token or tokenizer.pad_token
        if end is None:
            raise ModelFolderError(
                f"the tokenizer {tokenizer.name_or_path!r} names no end token (eos_token) in tokenizer_config.json; add it"
            )
        tokenizer.eos_token = end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def with_chat_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> PreTrainedTokenizerBase:
    """Set the chat template that was asked for (Jinja, or the path of a file), or ChatML where there is none."""
    if template is not None:
        tokenizer.chat_template = _template_text(template)
    elif tokenizer.chat_template is None:
        # a turn has to end with one token that stops generation: the model's own end token where it knows no other
        known = END in tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if known else CHATML.replace(END, str(tokenizer.eos_token))
    return tokenizer


def _template_text(template: str) -> str:
    if "{" in template:
        return template
    path = Path(template)
    if not path.is_file():
        raise ModelFolderError(
            f"model.chat_template={template}: there is no such file; expected a Jinja template or the path of one"
        )
    return path.read_text(encoding="utf-8")


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 2048, max_length: int | None = None
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, the same for the same texts: no text is unknown to it, and nothing is normalised.

    Numbers are split into digits, so that small models can copy them. `<|im_end|>` ends a turn and so is the end token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    # one digit at a time; words with the space before them; punctuation and line breaks by themselves
    words = Regex(r"\p{N}|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(_bounded(texts, TRAINING_CHARACTERS), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START, END_OF_TEXT],
        model_max_length=max_length or int(1e30),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.padding_side = "right"
    return tokenizer


def _bounded(texts: Iterable[str], characters: int) -> Iterable[str]:
    """Texts until so many characters have been seen."""
    seen = 0
    for text in texts:
        yield text
        seen += len(text)
        if seen >= characters:
            return
