"""Several models as one torch module: classifiers whose probabilities are combined, causal models whose next tokens are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from trainers.ensembles.combine import log_softmax, logs_of

if TYPE_CHECKING:
    from trainers.ensembles.folder import EnsembleFolder


class Output(NamedTuple):
    """What a forward pass gives, as transformers names it."""

    logits: torch.Tensor


class ClassifierEnsemble(torch.nn.Module):
    """Classifiers of one tokenizer. `logits` are the logarithms of the combined probabilities."""

    def __init__(self, folder: EnsembleFolder, device: str = "cpu") -> None:
        super().__init__()
        self.folder = folder
        self.members = torch.nn.ModuleList([member.load(device) for member in folder.members])  # type: ignore[misc]
        self.tokenizer = folder.tokenizer() if folder.spec.rule == "router" else None
        self.config: Any = self.members[0].config

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **more: Any) -> Output:
        """Combined scores of texts given as tokens."""
        found = []
        for index, member in enumerate(self.members):
            logits = member(input_ids=input_ids, attention_mask=attention_mask, **more).logits
            found.append(log_softmax(logits.float().cpu().numpy())[:, self.folder.in_order(index)])
        texts = self.tokenizer.batch_decode(input_ids, skip_special_tokens=True) if self.tokenizer else []
        mixed = self.folder.combined(np.stack(found), texts)
        return Output(torch.from_numpy(logs_of(mixed)).float().to(input_ids.device))


class _OutputLayers:
    """The output layers of all members, as far as they are hooked together."""

    def __init__(self, layers: Sequence[torch.nn.Module]) -> None:
        self.layers = layers

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> None:
        for layer in self.layers:
            layer.register_forward_pre_hook(hook)


class CausalEnsemble(torch.nn.Module):
    """Causal models of one tokenizer: each next token is drawn from the weighted mean of their distributions.

    The mean is over probabilities (`space: probabilities`) or over log-probabilities (`space: log_probabilities`).
    """

    def __init__(self, folder: EnsembleFolder, device: str = "cpu") -> None:
        super().__init__()
        self.members = torch.nn.ModuleList([member.load(device) for member in folder.members])  # type: ignore[misc]
        weights = torch.tensor(folder.spec.parameters["weights"], dtype=torch.float32)
        self.shares = (weights / weights.sum()).tolist()
        self.in_logs = folder.spec.parameters["space"] == "log_probabilities"

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def config(self) -> Any:
        return self.members[0].config

    @property
    def generation_config(self) -> Any:
        return self.members[0].generation_config

    def get_output_embeddings(self) -> Any:
        """The output layers of all members."""
        return _OutputLayers([member.get_output_embeddings() for member in self.members])  # type: ignore[operator]

    def mix(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the mean; vocabularies that were padded differently are cut to the shortest."""
        width = min(one.shape[-1] for one in logits)
        logs = [one[..., :width].float().log_softmax(-1) for one in logits]
        if self.in_logs:
            total = sum(share * one for share, one in zip(self.shares, logs, strict=True))
            assert isinstance(total, torch.Tensor)
            return total.log_softmax(-1)
        shifted = [one + float(np.log(max(share, 1e-12))) for share, one in zip(self.shares, logs, strict=True)]
        return torch.logsumexp(torch.stack(shifted), dim=0)

    def forward(self, **inputs: Any) -> Output:
        """Mixed scores of the next tokens, as log-probabilities."""
        inputs.pop("use_cache", None)
        return Output(self.mix([member(**inputs, use_cache=False).logits for member in self.members]))

    def generate(self, *, logits_processor: Sequence[Callable[..., Any]] = (), **inputs: Any) -> torch.Tensor:
        """Answers by transformers' own `generate` of the first member; the others are asked at each token."""
        from transformers import LogitsProcessorList

        others = _Others(self, inputs["attention_mask"])
        first: Any = self.members[0]
        return first.generate(logits_processor=LogitsProcessorList([others, *logits_processor]), **inputs)


class _Others:
    """Mixes the other members into the scores of the first; each keeps its own cache, so a token costs one step of each."""

    def __init__(self, ensemble: CausalEnsemble, mask: torch.Tensor) -> None:
        self.ensemble, self.mask = ensemble, mask
        self.caches: list[Any] = [None] * (len(ensemble.members) - 1)
        self.seen = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        repeats = len(input_ids) // len(self.mask)
        mask = self.mask.repeat_interleave(repeats, 0)
        grown = torch.nn.functional.pad(mask, (0, input_ids.shape[1] - mask.shape[1]), value=1)
        positions = (grown.cumsum(-1) - 1).clamp(min=0)[:, self.seen :]
        found = [scores]
        for index, member in enumerate(list(self.ensemble.members)[1:]):
            given = member(
                input_ids=input_ids[:, self.seen :],
                attention_mask=grown,
                position_ids=positions,
                past_key_values=self.caches[index],
                use_cache=True,
            )
            self.caches[index] = given.past_key_values
            found.append(given.logits[:, -1])
        self.seen = input_ids.shape[1]
        mixed = self.ensemble.mix(found)
        return torch.nn.functional.pad(mixed, (0, scores.shape[-1] - mixed.shape[-1]), value=float("-inf"))
