"""What a model makes of texts: the scores of a classifier, and the place of a text as its last layer sees it.

The place is what the classification head is given; of causal models it is the mean of the last hidden states. Both serve to
tell strange rows and to find training rows that are alike.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.causal_loss import by_length, pad
from trainers.data.ray_data import quiet_context
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

WINDOW = 256
LONGEST = 512
"""Tokens of a text that are looked at, where the model's run says no other length."""


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Texts as a model sees them.

    Attributes:
        features: shape (n, d), float32.
        logits: scores of the classes, shape (n, classes), float32; no columns for causal models.
    """

    features: np.ndarray
    logits: np.ndarray


class Featuriser:
    """Holds a model folder; turns batches with the column `text` into `features` and `logits`."""

    def __init__(self, folder: ModelFolder, batch_size: int = 32, num_threads: int = 1) -> None:
        import torch

        torch.set_num_threads(num_threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder, self.batch_size = folder, batch_size
        self.tokenizer = folder.tokenizer()
        self.model: Any = folder.load(self.device)
        self.is_classifier = folder.kind == "classification"
        self.head = _Head(self.model, len(folder.labels)) if self.is_classifier else None
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or LONGEST
        self.longest = min(folder.config.data.max_length if folder.config else LONGEST, positions)

    def __call__(self, batch: pa.Table) -> dict[str, np.ndarray]:
        seen = self.see(batch["text"].to_pylist())
        return {"features": seen.features, "logits": seen.logits}

    def see(self, texts: Sequence[str]) -> Seen:
        """Features and scores of texts, in order."""
        import torch

        rows = self.tokenizer(list(texts), truncation=True, max_length=self.longest, verbose=False)["input_ids"]
        features: list[np.ndarray] = [np.empty(0)] * len(rows)
        logits: list[np.ndarray] = [np.empty(0)] * len(rows)
        fill = self.tokenizer.pad_token_id
        fill = (self.tokenizer.eos_token_id if fill is None else fill) or 0
        for batch in by_length([len(row) for row in rows], self.batch_size):
            ids = pad([rows[at] for at in batch], fill).to(self.device)
            mask = pad([[1] * len(rows[at]) for at in batch], 0).to(self.device)
            with torch.inference_mode():
                found = self._forward(ids, mask)
            for at, place, scores in zip(batch, *(one.float().cpu().numpy() for one in found), strict=True):
                features[at], logits[at] = place, scores
        return Seen(np.stack(features), np.stack(logits))

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.head is not None:
            logits = self.model(input_ids=ids, attention_mask=mask).logits
            return self.head.pooled(mask), logits
        states = self.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        ).hidden_states[-1]
        weights = mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return pooled, pooled.new_zeros((len(ids), 0))


class _Head:
    """Listens to what the classification head is given: the last linear layer with one output a class."""

    def __init__(self, model: Any, num_labels: int) -> None:
        from torch import nn

        self.heard: torch.Tensor | None = None
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.out_features == num_labels:
                module.register_forward_pre_hook(self._listen)

    def _listen(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.heard = inputs[0].detach()

    def pooled(self, mask: torch.Tensor) -> torch.Tensor:
        """One place for each row: that of its last token, where the head is given all tokens (decoders)."""
        assert self.heard is not None, "the model has no linear layer with one output a class"
        if self.heard.dim() == 2:
            return self.heard
        last = mask.sum(1) - 1
        return self.heard[range(len(last)), last]


def see_texts(folder: ModelFolder, texts: Sequence[str], batch_size: int = 32) -> Seen:
    """Features and scores of texts, in order, by actors of the connected Ray cluster."""
    import pyarrow as pa
    import ray.data

    from trainers.evaluation.subjects.folder import placement

    with quiet_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Data warns of its own deprecations and of small inputs
        dataset = (
            ray.data.from_arrow(pa.table({"text": pa.array(list(texts), pa.string())}))
            .repartition(target_num_rows_per_block=WINDOW)
            .map_batches(
                Featuriser,
                fn_constructor_args=(folder, batch_size),
                batch_size=WINDOW,
                batch_format="pyarrow",
                **placement(-(-len(texts) // WINDOW)),
            )
        )
        batches = list(dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))
    return Seen(
        np.concatenate([np.stack(list(one["features"])) for one in batches]),
        np.concatenate([np.stack(list(one["logits"])) for one in batches]),
    )
