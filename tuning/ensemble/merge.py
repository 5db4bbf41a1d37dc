"""Several models made one: means of weights (soups), and LoRA adapters merged by PEFT. The result is an ordinary model folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config.ensemble import LoraMerge, Soup
from cluster.exceptions import ConfigError
from trainers.folder import ModelFolder
from tuning.ensemble.make import Made
from tuning.ensemble.members import Candidate
from tuning.ensemble.workshop import Workshop, mean_loss
from tuning.ensemble.write import MODEL, finish

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
MOST_LEARNT_ROWS, LEARNT_EPOCHS, LEARNT_BATCH = 2000, 3, 32
LEARNT_RATE = 0.1


def merge_weights(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """A soup (Wortsman et al. 2022): the mean of all, of those that help, or with shares learnt on the validation rows.

    Raises:
        ConfigError: for members of other shapes or labels.
    """
    rule = workshop.settings.combine
    assert isinstance(rule, Soup)
    pot = Pot(workshop, candidates)
    shares, tasted = {"uniform": pot.uniform, "greedy": pot.greedy, "learned": pot.learned}[rule.how]()
    members = [index for index, share in enumerate(shares) if share > 0]
    place = pot.serve(shares)
    words = f"One model, the {rule.how} mean of the weights of {len(members)} of {len(candidates)} members{tasted}."
    return Made(place, words, candidates, members, [shares[index] for index in members], is_merged=True)


class Pot:
    """The members' weights, read one by one so that no more than two models are held at a time."""

    def __init__(self, workshop: Workshop, candidates: Sequence[Candidate]) -> None:
        self.workshop, self.candidates = workshop, candidates
        first = whole_weights(candidates[0].folder)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in first.items()}
        for one in candidates[1:]:
            found = {name: tuple(tensor.shape) for name, tensor in whole_weights(one.folder).items()}
            if found != self.shapes or one.folder.labels != candidates[0].folder.labels:
                raise ConfigError(
                    f"{one.name} has other layers or labels than {candidates[0].name}, so their weights have no mean; expected "
                    "models of one architecture fine-tuned from the same weights: combine them by soft_vote instead"
                )

    def uniform(self) -> tuple[list[float], str]:
        return [1 / len(self.candidates)] * len(self.candidates), ""

    def greedy(self) -> tuple[list[float], str]:
        """Each member, from the best on, stays in if the mean is no worse with it."""
        scores = [self._score(self.workshop.answers(one.folder, self.workshop.validation)) for one in self.candidates]
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        kept, best = [order[0]], scores[order[0]]
        for index in order[1:]:
            score = self.taste(self._shares([*kept, index]))
            if score >= best:
                kept, best = [*kept, index], score
        return self._shares(kept), ", chosen on the validation rows that it is shown on"

    def _shares(self, kept: Sequence[int]) -> list[float]:
        return [1 / len(kept) if index in kept else 0.0 for index in range(len(self.candidates))]

    def _score(self, predictions: Any) -> tuple[float, float]:
        right = [one.output == one.reference for one in predictions]
        loss = -mean_loss(predictions)
        return (float(np.mean(right)), loss) if self.candidates[0].folder.labels else (loss, 0.0)

    def taste(self, shares: Sequence[float]) -> tuple[float, float]:
        """Score of a soup on the validation rows."""
        from trainers.evaluation.evaluate import predictions_of
        from trainers.evaluation.subjects import FolderSubject

        with tempfile.TemporaryDirectory(prefix="mobula-soup-") as temporary:
            folder = self.write(Path(temporary), shares)
            found, _ = predictions_of(FolderSubject(folder), self.workshop.validation, self.workshop.evaluate)
        return self._score(list(found.values()))

    def mean(self, shares: Sequence[float]) -> Weights:
        """The weighted mean, in float32; numbers that are no weights (counters) are the first member's."""
        total: Weights = {}
        for one, share in zip(self.candidates, shares, strict=True):
            if share <= 0:
                continue
            for name, tensor in whole_weights(one.folder).items():
                if not tensor.is_floating_point():
                    total.setdefault(name, tensor)
                elif name in total:
                    total[name] += share * tensor.float()
                else:
                    total[name] = share * tensor.float()
        return total

    def write(self, folder: Path, shares: Sequence[float]) -> ModelFolder:
        """A soup as a model folder."""
        first = self.candidates[0].folder
        model: Any = whole_model(first)
        model.load_state_dict({name: tensor.to(model.dtype) for name, tensor in self.mean(shares).items()})
        model.save_pretrained(folder, safe_serialization=True)
        first.tokenizer().save_pretrained(folder)
        finish(folder, self.workshop.run.config, self.candidates, first)
        return ModelFolder.open(folder)

    def serve(self, shares: Sequence[float]) -> str:
        """Write a soup into the ensemble's run directory."""
        run = self.workshop.run.storage
        with tempfile.TemporaryDirectory(prefix="mobula-soup-") as temporary:
            self.write(Path(temporary), shares)
            run.upload_folder(Path(temporary), MODEL)
        return run.place(MODEL)

    def learned(self) -> tuple[list[float], str]:
        """Shares by gradient descent on the validation loss: as few numbers as members, so that little can be over-fitted.

        Raises:
            ConfigError: for causal models.
        """
        import torch

        first = self.candidates[0].folder
        if first.kind != "classification":
            raise ConfigError("soup: {how: learned} is for classifiers; use greedy or uniform for causal models")
        model: Any = whole_model(first)
        every = [whole_weights(one.folder) for one in self.candidates]
        raw = torch.zeros(len(every), requires_grad=True)
        optimizer = torch.optim.Adam([raw], lr=LEARNT_RATE)
        rows = self.workshop.answers(first, self.workshop.validation)[:MOST_LEARNT_ROWS]
        batches = _Batches(first, rows)
        for _ in range(LEARNT_EPOCHS):
            for inputs, classes in batches:
                loss = _loss(model, every, raw.softmax(0), inputs, classes)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return raw.detach().softmax(0).tolist(), ", shares learnt on the validation rows that it is shown on"


class _Batches:
    """Validation rows as the model sees them, in an order that is drawn anew each time."""

    def __init__(self, folder: ModelFolder, rows: Sequence[Any]) -> None:
        import torch

        self.rng, self.tokenizer = np.random.default_rng(0), folder.tokenizer()
        self.max_length = folder.config.data.max_length if folder.config else None
        index_of = {label: at for at, label in enumerate(folder.labels)}
        self.texts = [one.prompt or "" for one in rows]
        self.classes = torch.tensor([index_of[one.reference] for one in rows])

    def __iter__(self) -> Any:
        order = self.rng.permutation(len(self.texts))
        for start in range(0, len(order), LEARNT_BATCH):
            some = order[start : start + LEARNT_BATCH]
            texts = [self.texts[index] for index in some]
            limit = {"truncation": True, "max_length": self.max_length} if self.max_length else {}
            inputs = self.tokenizer(texts, padding=True, return_tensors="pt", **limit)
            yield {name: inputs[name] for name in ("input_ids", "attention_mask")}, self.classes[some.tolist()]


def _loss(
    model: Any, every: Sequence[Weights], shares: torch.Tensor, inputs: Any, classes: torch.Tensor
) -> torch.Tensor:
    """Loss of the mean with these shares, as a function of them."""
    import torch

    mixed = {
        name: sum((share * one[name].float() for share, one in zip(shares, every, strict=True)), torch.zeros(()))
        for name, tensor in every[0].items()
        if tensor.is_floating_point()
    }
    logits = torch.func.functional_call(model.float(), mixed, kwargs=inputs).logits
    return torch.nn.functional.cross_entropy(logits.float(), classes)


def whole_model(folder: ModelFolder) -> Any:
    """A folder's model, an adapter's update added to its base."""
    model: Any = folder.load()
    return model.merge_and_unload() if folder.is_adapter else model


def whole_weights(folder: ModelFolder) -> Weights:
    """Its weights by name."""
    found: Weights = whole_model(folder).state_dict()
    return found


# -- adapters -------------------------------------------------------------------------------------


def merge_adapters(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """One LoRA adapter out of several on one base.

    Raises:
        ConfigError: for members that are no adapters of one base, or that PEFT cannot merge this way.
    """
    rule = workshop.settings.combine
    assert isinstance(rule, LoraMerge)
    bases = {one.folder.base for one in candidates}
    carried = {_carried(one.folder) for one in candidates}
    if None in bases or (len(bases) > 1 and len(carried) > 1) or (None in carried and len(bases) > 1):
        raise ConfigError(
            "lora_merge takes LoRA adapters on one base model; found "
            f"{'whole models' if None in bases else 'adapters on several bases'}: use soup, or a vote"
        )
    weights = rule.weights or [1 / len(candidates)] * len(candidates)
    if len(weights) != len(candidates):
        raise ConfigError(f"lora_merge: found {len(weights)} weights for {len(candidates)} members; expected one each")
    with tempfile.TemporaryDirectory(prefix="mobula-merge-") as temporary:
        folder = Path(temporary)
        _merge(rule, candidates, weights, folder)
        first = candidates[0].folder
        first.tokenizer().save_pretrained(folder)
        for name in ("generation_config.json", "chat_template.jinja"):
            if (first.path / name).exists() and not (folder / name).exists():
                shutil.copy(first.path / name, folder / name)
        if (first.path / "base").is_dir():
            shutil.copytree(first.path / "base", folder / "base")
        finish(folder, workshop.run.config, candidates, first)
        ModelFolder.open(folder)
        workshop.run.storage.upload_folder(folder, MODEL)
    words = f"One LoRA adapter, merged from {len(candidates)} by {rule.how}."
    place = workshop.run.storage.place(MODEL)
    return Made(place, words, candidates, range(len(candidates)), weights, is_merged=True)


def _carried(folder: ModelFolder) -> str | None:
    """Hash of the base that an adapter carries in its own folder, so that two that carry the same one can be told."""
    from trainers.ensembles.folder import folder_fingerprint

    base = folder.path / "base"
    return folder_fingerprint(ModelFolder(base)) if base.is_dir() else None


def _merge(rule: LoraMerge, candidates: Sequence[Candidate], weights: Sequence[float], folder: Path) -> None:
    import torch
    from peft import PeftModel

    first = candidates[0].folder
    if first.kind == "classification":
        raise ConfigError(
            "lora_merge: the members are classifiers, each with a trained head of its own, which PEFT cannot merge; use "
            "combine: {kind: soup}, which takes the mean of updates and heads"
        )
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(str(first.base), use_safetensors=True, dtype="auto")
    names = [f"member{index}" for index in range(len(candidates))]
    model: Any = PeftModel.from_pretrained(base, str(first.path), adapter_name=names[0])
    for name, one in zip(names[1:], candidates[1:], strict=True):
        model.load_adapter(str(one.folder.path), adapter_name=name)
    density = {"density": rule.density} if rule.how.startswith(("ties", "dare")) else {}
    torch.manual_seed(0)  # dare draws which entries it drops
    try:
        model.add_weighted_adapter(names, list(weights), "merged", combination_type=rule.how, **density)
    except ValueError as error:
        raise ConfigError(f"lora_merge: PEFT cannot merge these adapters by {rule.how}: {error}") from error
    model.save_pretrained(folder, safe_serialization=True, selected_adapters=["merged"])
    for path in (folder / "merged").iterdir():  # PEFT puts what is not called `default` into a folder of its own
        path.rename(folder / path.name)
    (folder / "merged").rmdir()
