"""The model at work: one actor holds a model folder and scores windows of rows.

A window is larger than a batch. Inside it rows are sorted by length, so that little is padded, and put back in order
afterwards; nothing larger than a window is ever held by an actor.
"""

from __future__ import annotations

import dataclasses
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config import DataConfig, EvaluateConfig
from trainers.causal_loss import RowLoss, by_length, pad
from trainers.data.encode import IGNORED, Encoder, ParsedRow, Tokens
from trainers.data.shapes import PromptOnly
from trainers.data.sources import Sources
from trainers.data.template import render
from trainers.evaluation.confidence.responses import confidence_of_tokens, notes_of_tokens
from trainers.evaluation.exchange import Exchange, described, exchange, read_row
from trainers.evaluation.result import Prediction
from trainers.evaluation.store import Part
from trainers.evaluation.subjects.base import orders
from trainers.evaluation.subjects.wire import packed
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Task:
    """What an actor needs to know; a plain value that travels to it.

    Attributes:
        writes_answers: whether it also generates, or somebody else does.
    """

    folder: ModelFolder
    sources: Sources
    data: DataConfig
    evaluate: EvaluateConfig
    writes_answers: bool = True
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
        """A packed part for a window with the columns `file`, `position` and `row`."""
        import torch

        began = time.time()
        with torch.inference_mode():
            predictions = self.predictions(window)
        return packed(Part(orders(window).tolist(), predictions, [self._facts(began)]))

    def predictions(self, window: pa.Table) -> list[Prediction]:
        """One prediction for each row of the window, in order."""
        places = list(zip(window["file"].to_pylist(), window["position"].to_pylist(), strict=True))
        task = self.task
        parsed = [
            read_row(task.sources, place, row, task.data, task.folder.kind, to_learn=False)
            for place, row in zip(places, window["row"].to_pylist(), strict=True)
        ]
        scored = zip(self.score(window, parsed), parsed, places, strict=True)
        return [described(one, row, task.sources.where(*place)) for one, row, place in scored]

    def _facts(self, began: float) -> dict[str, Any]:
        import resource

        import torch

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        on_gpu = torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
        return {
            "began_unix_s": began,
            "ended_unix_s": time.time(),
            "peak_memory_bytes": on_gpu or peak,
            "worker": f"{os.uname().nodename}:{os.getpid()}",
        }

    @abstractmethod
    def score(self, window: pa.Table, parsed: Sequence[ParsedRow]) -> list[Prediction]:
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

    def score(self, window: pa.Table, parsed: Sequence[ParsedRow]) -> list[Prediction]:
        import torch

        rows = self.encoder(window)
        labels = self.task.folder.labels
        index_of = {label: index for index, label in enumerate(labels)}
        predictions: list[Prediction | None] = [None] * len(rows)
        for batch in self.batches([len(row.ids) for row in rows]):
            began = time.perf_counter()
            logits = self.model(**self.pad_with_mask([rows[index].ids for index in batch])).logits.float().cpu()
            scores = torch.log_softmax(logits, dim=-1)
            best = scores.argmax(dim=-1).tolist()
            latency_s = time.perf_counter() - began
            values = zip(batch, best, scores.tolist(), logits.tolist(), strict=True)
            for index, chosen, row_scores, row_logits in values:
                row = rows[index]
                predictions[index] = Prediction(
                    place="",
                    reference=row.label,
                    output=labels[chosen],
                    loss_sum=-row_scores[index_of[row.label]],
                    loss_units=1,
                    probability=float(np.exp(row_scores[chosen])),
                    was_cut=row.cut > 0,
                    logits=row_logits,
                    latency_s=latency_s,
                )
        return [prediction for prediction in predictions if prediction is not None]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model wrote to one question.

    Attributes:
        texts: the answers, more than one where several samples were asked for.
        num_tokens: of all of them, the end token counted.
        latency_s: until the answers of the batch were whole.
        probability: geometric mean of the first answer's token probabilities; None where it is not known.
        error: why there is none.
        notes: other measures of how sure the model was of the first answer.
    """

    texts: list[str]
    num_tokens: int
    latency_s: float | None = None
    probability: float | None = None
    error: str | None = None
    notes: dict[str, float] = dataclasses.field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """As fields of a prediction."""
        return {
            "output": self.texts[0] if self.texts else None,
            "samples": self.texts[1:],
            "output_tokens": self.num_tokens,
            "latency_s": self.latency_s,
            "probability": self.probability,
            "error": self.error,
            "notes": dict(self.notes),
        }


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long prompts and answers of a model may be, in tokens."""

    positions: int
    max_new_tokens: int

    @classmethod
    def of(cls, model_config: Any, max_new_tokens: int) -> Limits:
        """Those of a model with this configuration (transformers)."""
        positions = getattr(model_config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        return cls(positions, max_new_tokens)

    @property
    def longest_prompt(self) -> int:
        """Longer prompts lose their beginning."""
        return max(self.positions - self.max_new_tokens, self.positions // 2)

    def new_tokens(self, prompt_length: int) -> int:
        """Longest answer behind a prompt."""
        return min(self.max_new_tokens, self.positions - prompt_length)


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, question: Exchange) -> list[int]:
    """What the model sees of a question, as in training."""
    if isinstance(question.asked, str):
        return list(tokenizer(question.asked, verbose=False)["input_ids"])
    return render(tokenizer, question.asked, question.tools, add_generation_prompt=True)


def stop_tokens(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> list[int]:
    """Tokens that end an answer."""
    ends = generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({token for token in (*ends, tokenizer.eos_token_id) if token is not None})


class CausalScorer(Scorer):
    """Loss on the tokens that carry it, and the answers to the last question of each row."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.limits = Limits.of(self.model.config, task.evaluate.max_new_tokens)
        self.row_loss = RowLoss(self.model, self.fill, task.evaluate.batch_size)
        self.stops = stop_tokens(self.tokenizer, self.model.generation_config)

    def score(self, window: pa.Table, parsed: Sequence[ParsedRow]) -> list[Prediction]:
        losses = self.losses(window, parsed)
        questions = [exchange(row.example) for row in parsed]
        prompts = [prompt_tokens(self.tokenizer, one) if one else None for one in questions]
        answers = self.answers(prompts) if self.task.writes_answers else [None] * len(prompts)
        longest = self.limits.longest_prompt
        return [
            Prediction(
                place="",
                reference=question.reference if question else None,
                was_cut=loss["was_cut"] or (prompt is not None and len(prompt) > longest),
                **{name: value for name, value in loss.items() if name != "was_cut"},
                **(answer.fields() if answer else {"output": None}),
            )
            for loss, question, prompt, answer in zip(losses, questions, prompts, answers, strict=True)
        ]

    def losses(self, window: pa.Table, parsed: Sequence[ParsedRow]) -> list[dict[str, Any]]:
        """The loss of each row and over how much it was taken, as fields of a prediction; 0 of rows without an answer."""
        import pyarrow as pa

        has_answer = [not isinstance(row.example, PromptOnly) for row in parsed]
        rows: list[Tokens] = self.encoder(window.filter(pa.array(has_answer, pa.bool_()))) if any(has_answer) else []
        found = iter(
            [
                {
                    "loss_sum": loss,
                    "loss_units": row.num_learnt,
                    "loss_bytes": self.learnt_bytes(row),
                    "was_cut": row.cut > 0,
                }
                for row, loss in zip(rows, self.row_loss(rows), strict=True)
            ]
        )
        nothing = {"loss_sum": 0.0, "loss_units": 0, "loss_bytes": 0, "was_cut": False}
        return [next(found) if has else nothing for has in has_answer]

    def learnt_bytes(self, row: Tokens) -> int:
        """UTF-8 bytes of the text that carries loss."""
        learnt = row.ids[row.labels != IGNORED]
        return len(str(self.tokenizer.decode(learnt, skip_special_tokens=True)).encode())

    def answers(self, prompts: Sequence[list[int] | None]) -> list[Answer | None]:
        """The answers to each question, given as tokens."""
        asked = [(index, prompt) for index, prompt in enumerate(prompts) if prompt is not None]
        answers: list[Answer | None] = [None] * len(prompts)
        for batch in self.batches([len(prompt) for _, prompt in asked]):
            written = self.write([asked[at][1][-self.limits.longest_prompt :] for at in batch])
            for at, answer in zip(batch, written, strict=True):
                answers[asked[at][0]] = answer
        return answers

    def write(self, prompts: list[list[int]]) -> list[Answer]:
        """The answers to a batch of questions."""
        import torch

        began = time.perf_counter()
        inputs = self.pad_with_mask(prompts, left=True)
        evaluate, likeliest = self.task.evaluate, LikeliestTokens()
        torch.manual_seed(evaluate.seed + sum(map(len, prompts)))
        outputs = self.model.generate(
            **inputs, generation_config=self.generation(max(map(len, prompts))), logits_processor=[likeliest]
        )[:, inputs["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(outputs, skip_special_tokens=True)
        counts = self._num_tokens(outputs)
        greedy = not evaluate.temperature
        sure = likeliest.of_answers(counts) if greedy else [np.empty(0)] * len(prompts)
        latency_s, each = time.perf_counter() - began, evaluate.num_samples
        return [
            Answer(
                texts[at : at + each],
                sum(counts[at : at + each]),
                latency_s,
                confidence_of_tokens(sure[at // each]).get("geometric_mean"),
                notes=notes_of_tokens(sure[at // each]),
            )
            for at in range(0, len(texts), each)
        ]

    def _num_tokens(self, outputs: torch.Tensor) -> list[int]:
        """Tokens of each answer up to its end, that one counted."""
        import torch

        ends = torch.isin(outputs, torch.tensor(self.stops, device=outputs.device))
        before = (ends.cumsum(dim=1) - ends.int()) == 0
        return before.sum(dim=1).tolist()

    def generation(self, prompt_length: int) -> Any:
        """How answers behind prompts of this length are generated."""
        from transformers import GenerationConfig

        evaluate, pad_id = self.task.evaluate, self.tokenizer.pad_token_id
        drawn = {
            "do_sample": True,
            "temperature": evaluate.temperature,
            "top_p": evaluate.top_p,
            "top_k": 0,
            "num_return_sequences": evaluate.num_samples,
        }
        return GenerationConfig(
            **(drawn if evaluate.temperature else {"do_sample": False}),
            max_new_tokens=self.limits.new_tokens(prompt_length),
            eos_token_id=self.stops or None,
            pad_token_id=self.tokenizer.eos_token_id if pad_id is None else pad_id,
        )


class LikeliestTokens:
    """Watches greedy generation: the log-probability of the token that is taken at each step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Called by `generate` before each token, scores of shape (rows, vocabulary)."""
        self.steps.append(scores.float().log_softmax(dim=-1).amax(dim=-1))
        return scores

    def of_answers(self, counts: Sequence[int]) -> list[np.ndarray]:
        """Log-probabilities of the tokens of each answer, given how many it has."""
        import torch

        steps = torch.stack(self.steps, dim=1).cpu().numpy()
        return [row[:count] for row, count in zip(steps, counts, strict=True)]


SCORERS: dict[str, type[Scorer]] = {"causal_lm": CausalScorer, "classification": ClassificationScorer}
