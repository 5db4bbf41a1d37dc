"""Best of n: several answers are drawn to each question, and the one with the highest reward is given."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    from trainers.ensembles.folder import EnsembleFolder
    from trainers.evaluation.result import Prediction
    from trainers.evaluation.store import Part
    from trainers.evaluation.subjects.base import Job

Reward = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Questions and answers to numbers, higher is better."""
BATCH = 32


def reward_of(name: str, good_label: str | None = None) -> Reward:
    """The reward that a name means: a classifier's folder, or `package.module:function`.

    Raises:
        ConfigError: if it is neither.
    """
    if Path(name).is_dir():
        return FolderReward(ModelFolder.open(name), good_label)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(f"reward={name!r}: no such folder, and no package.module:function; name one of the two")
    try:
        found: Reward = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"reward={name} cannot be imported ({error}); check the name") from error
    return found


class FolderReward:
    """A classifier that reads question and answer; the log-probability of its good label, or its one score.

    Raises:
        ConfigError: for a model that is no classifier, or a label that it does not know.
    """

    def __init__(self, folder: ModelFolder, good_label: str | None) -> None:
        if folder.kind != "classification":
            raise ConfigError(f"reward={folder.path}: is a causal model; expected a classifier of question and answer")
        label = good_label or folder.labels[-1]
        if label not in folder.labels:
            raise ConfigError(
                f"good_label={label!r}: the reward model knows {', '.join(folder.labels)}; name one of them"
            )
        self.at, self.is_score = folder.labels.index(label), len(folder.labels) == 1
        self.tokenizer, self.model = folder.tokenizer(), folder.load()

    def __call__(self, questions: Sequence[str], answers: Sequence[str]) -> list[float]:
        import torch

        found: list[float] = []
        for start in range(0, len(answers), BATCH):
            pairs = list(questions[start : start + BATCH]), list(answers[start : start + BATCH])
            inputs = self.tokenizer(*pairs, truncation=True, padding=True, return_tensors="pt")
            inputs.pop("token_type_ids", None) if not hasattr(self.model.config, "type_vocab_size") else None
            with torch.inference_mode():
                logits = self.model(**inputs).logits.float()
            scores = logits[:, 0] if self.is_score else logits.log_softmax(-1)[:, self.at]
            found += scores.tolist()
        return found


def best_parts(folder: EnsembleFolder, job: Job) -> Iterator[Part]:
    """Predictions with the best of all members' answers; losses are the first member's."""
    from trainers.ensembles.predict import member_predictions
    from trainers.evaluation.store import Part

    settings = folder.spec.parameters
    each = max(1, -(-int(settings["n"]) // len(folder.members)))
    drawing = {"num_samples": each, "temperature": max(float(settings["temperature"]), 1e-3)}
    drawn = dataclasses.replace(job, evaluate=job.evaluate.model_copy(update=drawing))
    found, facts = [], []
    for member in folder.members:
        predictions, of_member = member_predictions(member, drawn)
        found.append(predictions)
        facts += of_member
    done = set(job.done.tolist())
    orders = [order for order in found[0] if order not in done]
    reward = reward_of(str(settings["reward"]), settings.get("good_label"))
    yield Part(orders, best_answers([[one[order] for one in found] for order in orders], reward), facts)


def best_answers(rows: Sequence[Sequence[Prediction]], reward: Reward) -> list[Prediction]:
    """For each row the answer with the highest reward of all that its members gave; the others become its samples."""
    answers = [[text for one in row for text in (one.output, *one.samples) if text is not None] for row in rows]
    questions = [row[0].prompt or "" for row, texts in zip(rows, answers, strict=True) for _ in texts]
    scores = list(reward(questions, [text for texts in answers for text in texts]))
    made, at = [], 0
    for row, texts in zip(rows, answers, strict=True):
        of_row, at = np.asarray(scores[at : at + len(texts)], np.float64), at + len(texts)
        if not len(texts):
            made.append(row[0])
            continue
        best = int(of_row.argmax())
        known: dict[str, Any] = {"reward": float(of_row[best]), "reward_mean": float(of_row.mean())}
        others = [text for index, text in enumerate(texts) if index != best]
        tokens = sum(one.output_tokens or 0 for one in row)
        made.append(
            dataclasses.replace(
                row[0],
                output=texts[best],
                samples=others,
                output_tokens=tokens,
                probability=None,
                notes=row[0].notes | known,
            )
        )
    return made
