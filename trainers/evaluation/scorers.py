"""The model at work: one actor holds a model folder and scores windows of rows.

A window is larger than a batch. Inside it rows are sorted by length, so that little is padded, and put back in order
afterwards; nothing larger than a window is ever held by an actor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config import DataConfig, EvaluateConfig
from trainers.causal_loss import RowLoss, by_length, pad
from trainers.data.encode import IGNORED, Encoder, Tokens, parse, parse_row
from trainers.data.shapes import Conversation, Example, LabelledText, PromptCompletion, to_row
from trainers.data.sources import Sources
from trainers.data.template import render
from trainers.evaluation.result import Prediction, to_table
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

NO_VALUE = "(none)"
"""Slice of the rows that lack the slice column."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What an actor needs to know; a plain value that travels to it."""

    folder: ModelFolder
    sources: Sources
    data: DataConfig
    evaluate: EvaluateConfig
    slices: tuple[str, ...] = ()
    num_threads: int = 1


class Scorer(ABC):
    """Scores windows of rows; the base of what differs between causal models and classifiers."""

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(task.num_threads)
        self.task = task
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = task.folder.tokenizer()
        self.model: Any = task.folder.load(self.device)
        labels = frozenset(task.folder.labels)
        self.encoder = Encoder(
            task.sources, task.data, self.tokenizer, classification=bool(labels), known_labels=labels or None
        )

    def __call__(self, window: pa.Table) -> pa.Table:
        """A table of predictions for a window with the columns `file`, `position` and `row`."""
        import torch

        with torch.inference_mode():
            predictions = self.score(window)
        rows = zip(predictions, _places(window), window["row"].to_pylist(), strict=True)
        return to_table([self._described(prediction, place, row) for prediction, place, row in rows])

    def _described(self, prediction: Prediction, place: tuple[int, int], row: str) -> Prediction:
        """With what is known of the row whatever the model."""
        parsed = parse_row(self.task.sources, place, row, self.task.data, self.task.folder.kind == "classification")
        said = json.dumps(to_row(parsed.example), sort_keys=True, default=str)
        return dataclasses.replace(
            prediction,
            place=parsed.place or self.task.sources.where(*place),
            slices={name: str(parsed.columns.get(name, NO_VALUE)) for name in self.task.slices},
            key=hashlib.blake2b(said.encode(), digest_size=12).hexdigest(),
            prompt=asked(parsed.example),
            columns=parsed.columns,
        )

    @abstractmethod
    def score(self, window: pa.Table) -> list[Prediction]:
        """One prediction for each row of the window, in order; what is known of any row is filled in by the caller."""

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of rows that are scored together."""
        return by_length(lengths, self.task.evaluate.batch_size)

    @property
    def fill(self) -> int:
        """Token that short rows are filled up with."""
        pad_id = self.tokenizer.pad_token_id
        return (self.tokenizer.eos_token_id if pad_id is None else pad_id) or 0

    def pad_with_mask(self, rows: Sequence[Sequence[int] | np.ndarray], left: bool = False) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of rows of tokens, on the device."""
        ones = [[1] * len(row) for row in rows]
        tensors = {"input_ids": pad(rows, self.fill, left), "attention_mask": pad(ones, 0, left)}
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}


class ClassificationScorer(Scorer):
    """The most probable label of each text."""

    def score(self, window: pa.Table) -> list[Prediction]:
        import torch

        rows = self.encoder(window)
        labels = self.task.folder.labels
        predictions: list[Prediction | None] = [None] * len(rows)
        for batch in self.batches([len(row.ids) for row in rows]):
            logits = self.model(**self.pad_with_mask([rows[index].ids for index in batch])).logits.float()
            scores = torch.log_softmax(logits, dim=-1).cpu()
            for index, row_scores, row_logits in zip(batch, scores, logits.tolist(), strict=True):
                row, best = rows[index], int(row_scores.argmax())
                predictions[index] = Prediction(
                    place="",
                    reference=row.label,
                    output=labels[best],
                    loss_sum=-float(row_scores[labels.index(row.label)]),
                    loss_units=1,
                    probability=float(row_scores[best].exp()),
                    was_cut=row.cut > 0,
                    logits=row_logits,
                )
        return [prediction for prediction in predictions if prediction is not None]


@dataclasses.dataclass(frozen=True)
class Question:
    """What a causal model is asked, and what it should answer."""

    prompt: list[int]
    reference: str


class CausalScorer(Scorer):
    """Loss on the tokens that carry it, and the greedy answer to the last question of each row."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        self.row_loss = RowLoss(self.model, self.fill, task.evaluate.batch_size)
        self.longest_prompt = max(self.positions - task.evaluate.max_new_tokens, self.positions // 2)

    def score(self, window: pa.Table) -> list[Prediction]:
        rows = self.encoder(window)
        losses = self.row_loss(rows)
        texts = window["row"].to_pylist()
        questions = [self.question(place, text) for place, text in zip(_places(window), texts, strict=True)]
        answers = self.answers(questions)
        return [
            Prediction(
                place="",
                reference=question.reference if question else None,
                output=answer,
                loss_sum=loss,
                loss_units=row.num_learnt,
                was_cut=row.cut > 0 or (question is not None and len(question.prompt) > self.longest_prompt),
                loss_bytes=self.learnt_bytes(row),
            )
            for row, question, answer, loss in zip(rows, questions, answers, losses, strict=True)
        ]

    def learnt_bytes(self, row: Tokens) -> int:
        """UTF-8 bytes of the text that carries loss."""
        learnt = row.ids[row.labels != IGNORED]
        return len(str(self.tokenizer.decode(learnt, skip_special_tokens=True)).encode())

    def question(self, place: tuple[int, int], row: str) -> Question | None:
        """The last answer of a row and all that stands before it; None where there is nothing to compare."""
        example = parse(self.task.sources, place, row, self.task.data)
        if isinstance(example, PromptCompletion):
            tokens = self.tokenizer(example.prompt, verbose=False)["input_ids"]
            return Question(list(tokens), example.completion)
        if not isinstance(example, Conversation):
            return None
        turns = [index for index, message in enumerate(example.messages) if message["role"] == "assistant"]
        reference = example.messages[turns[-1]]["content"]
        if not reference.strip():  # a call of a function: its text depends on the template
            return None
        asked = example.messages[: turns[-1]]
        return Question(render(self.tokenizer, asked, example.tools, add_generation_prompt=True), reference)

    def answers(self, questions: list[Question | None]) -> list[str | None]:
        """The greedy answer to each question."""
        asked = [(index, question) for index, question in enumerate(questions) if question is not None]
        answers: list[str | None] = [None] * len(questions)
        for batch in self.batches([len(question.prompt) for _, question in asked]):
            prompts = [asked[at][1].prompt[-self.longest_prompt :] for at in batch]
            inputs = self.pad_with_mask(prompts, left=True)
            outputs = self.model.generate(**inputs, generation_config=self._greedy(max(map(len, prompts))))
            texts = self.tokenizer.batch_decode(outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for at, text in zip(batch, texts, strict=True):
                answers[asked[at][0]] = text
        return answers

    def _greedy(self, prompt_length: int) -> Any:
        from transformers import GenerationConfig

        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        stops = {token for token in (*ends, self.tokenizer.eos_token_id) if token is not None}
        pad_id = self.tokenizer.pad_token_id
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=min(self.task.evaluate.max_new_tokens, self.positions - prompt_length),
            eos_token_id=sorted(stops) or None,
            pad_token_id=self.tokenizer.eos_token_id if pad_id is None else pad_id,
        )


def asked(example: Example) -> str | None:
    """What the model is given, as people read it: a text, or the turns before the last answer."""
    if isinstance(example, LabelledText):
        return example.text
    if isinstance(example, PromptCompletion):
        return example.prompt
    if not isinstance(example, Conversation):
        return None
    last = max((at for at, message in enumerate(example.messages) if message["role"] == "assistant"), default=None)
    before = example.messages[:last]
    if len(before) == 1:
        return str(before[0]["content"])
    return "\n".join(f"{message['role']}: {message['content']}" for message in before)


def _places(window: pa.Table) -> list[tuple[int, int]]:
    return list(zip(window["file"].to_pylist(), window["position"].to_pylist(), strict=True))


SCORERS: dict[str, type[Scorer]] = {"causal_lm": CausalScorer, "classification": ClassificationScorer}
