"""Model folders small enough to train inside a test."""

import json
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from trainers.data.template import tokenize_conversation
from trainers.folder import ModelFolder
from trainers.tokenizer import train_tokenizer, with_chat_template

ANSWERS = {
    "refund the lamp please": {"intent": "refund", "product": "lamp"},
    "cancel my watch": {"intent": "cancel", "product": "watch"},
    "where is my tablet": {"intent": "delivery", "product": "tablet"},
    "refund the watch now": {"intent": "refund", "product": "watch"},
}
LABELS = {"refund": "money", "cancel": "order", "where": "parcel"}


def conversation(question: str, answer: str) -> list[dict[str, str]]:
    """One exchange."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def write_jsonl(path: Path, rows: list[dict]) -> str:
    """Write rows, one a line, and give the path back as text."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def answering_folder(path: Path) -> ModelFolder:
    """A causal model that has learnt ANSWERS by heart."""
    rows = [conversation(question, json.dumps(answer)) for question, answer in ANSWERS.items()]
    tokenizer = _tokenizer([message["content"] for row in rows for message in row] + ["user\nassistant\n"])
    torch.manual_seed(0)
    model = LlamaForCausalLM(_shape(tokenizer))
    examples = [tokenize_conversation(tokenizer, row) for row in rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        for ids, mask in examples:
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
            targets = torch.tensor([token if kept else -100 for token, kept in zip(ids, mask, strict=True)])[1:]
            cross_entropy(logits, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    return _save(path, model, tokenizer)


def classifying_folder(path: Path) -> ModelFolder:
    """A classifier with fresh weights and three labels."""
    tokenizer = _tokenizer(list(ANSWERS))
    torch.manual_seed(0)
    labels = dict(enumerate(LABELS.values()))
    shape = _shape(tokenizer, id2label=labels, label2id={label: index for index, label in labels.items()})
    return _save(path, LlamaForSequenceClassification(shape), tokenizer)


def _tokenizer(texts: list[str]):
    return with_chat_template(train_tokenizer(texts, vocab_size=320, max_length=128), None)


def _shape(tokenizer, **extra) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=64,  # heads of 32: what vLLM can do on CPU
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        initializer_range=0.14,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **extra,
    )


def _save(path: Path, model, tokenizer) -> ModelFolder:
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return ModelFolder.open(path)
