"""Makes the folder of an ensemble by each rule: what is chosen and fitted on validation rows, and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.config.ensemble import Automatic, SoftVote, TokenMean
from cluster.exceptions import ConfigError, DataError
from trainers.ensembles.combine import Combiner, Committee, MajorityVote, logs_of
from trainers.ensembles.folder import DropoutFolder
from trainers.ensembles.spec import TOKEN_MEAN
from trainers.ensembles.uncertainty import uncertainty
from trainers.evaluation.result import Prediction
from tuning.ensemble.members import Candidate
from tuning.ensemble.rules import AUTOMATIC, FITS, cross_fitted, try_all
from tuning.ensemble.votes import Score, Votes, votes_of
from tuning.ensemble.workshop import Workshop, mean_loss
from tuning.ensemble.write import write_ensemble

LEAST_WEIGHT = 1e-6
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Made:
    """An ensemble that was written.

    Attributes:
        place: its folder.
        words: how it answers, as a sentence.
        candidates: all that might have become members; those that did, in the order of `members`.
        members: indices into `candidates`.
        weights: of the members, where there are any.
        validation: its predictions of the validation rows, none of them by what was fitted on that row; None where it was
            not scored there yet.
        is_merged: it is one model, no slower than one.
        tried: scores of the rules that were compared on validation rows.
        single: index of the model that it is held against; None for the best candidate.
    """

    place: str
    words: str
    candidates: Sequence[Candidate]
    members: Sequence[int]
    weights: Sequence[float] | None = None
    validation: Sequence[Prediction] | None = None
    is_merged: bool = False
    tried: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    single: int | None = None


def make(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """Make the ensemble that the settings ask for.

    Raises:
        ConfigError: if the rule does not suit the members.
    """
    from tuning.ensemble.merge import merge_adapters, merge_weights

    rule = workshop.settings.combine
    kinds = {one.folder.kind for one in candidates}
    if len(kinds) > 1:
        raise ConfigError("found both causal models and classifiers among the members; expected one kind of model")
    makers: dict[str, Callable[[Workshop, Sequence[Candidate]], Made]] = {
        "soup": merge_weights,
        "lora_merge": merge_adapters,
        "token_mean": token_mean,
        "best_of_n": best_of_n,
        "mc_dropout": mc_dropout,
    }
    if rule.kind not in ("mc_dropout", "best_of_n") and len(candidates) < 2:
        raise ConfigError(
            f"found {len(candidates)} member; expected at least two: name more, or a study, or ensemble.train"
        )
    if rule.kind in makers:
        return makers[rule.kind](workshop, candidates)
    if kinds == {"causal_lm"}:
        return _of_causal(workshop, candidates)
    return by_probabilities(workshop, candidates)


# -- classifiers ----------------------------------------------------------------------------------


def by_probabilities(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """Combine classifiers' probabilities."""
    if candidates[0].group is not None:
        return by_folds(workshop, candidates)
    rule: Any = workshop.settings.combine
    votes, name = workshop.votes(candidates, workshop.validation), str(rule.kind)
    tried: dict[str, Score] = {}
    if candidates[0].weight is not None:  # boosting has said how much each counts
        weights = [one.weight or 0.0 for one in candidates]
        return _written(workshop, candidates, votes, lambda _: MajorityVote(weights), "boosting's weighted vote")
    if isinstance(rule, Automatic):
        name, tried = try_all(rule, votes, FOLDS)
        rule = AUTOMATIC[name]
    made = _written(workshop, candidates, votes, FITS[rule.kind](rule), name.replace("_", " "))
    return dataclasses.replace(made, tried=tried)


def _written(
    workshop: Workshop, candidates: Sequence[Candidate], votes: Votes, fit: Callable[[Votes], Combiner], words: str
) -> Made:
    combiner, honest = fit(votes), cross_fitted(fit, votes, FOLDS)
    answers = workshop.answers(candidates[0].folder, workshop.validation)
    validation = predicted(answers, votes, honest, candidates[0].folder.labels, combiner)
    members, weights = list(range(len(candidates))), combiner.parameters().get("weights")
    if weights is not None:  # who counts for nothing need not be asked
        members = [index for index, weight in enumerate(weights) if weight > LEAST_WEIGHT]
        weights = [weights[index] for index in members]
        combiner = type(combiner)(weights)  # type: ignore[call-arg]
    kept = [candidates[index] for index in members]
    place = write_members(workshop, kept, combiner.kind, combiner.parameters())
    number = f"{len(kept)} of {len(candidates)}" if len(kept) < len(candidates) else f"{len(kept)}"
    return Made(place, f"{number} classifiers combined by {words}.", candidates, members, weights, validation)


def by_folds(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """Combine models that were trained once for each fold, by what is learnt from out-of-fold predictions."""
    groups = [one.group or 0 for one in candidates]
    rule: Any = workshop.settings.combine
    unseen, name = out_of_fold(workshop, candidates), str(rule.kind)
    tried: dict[str, Score] = {}
    if max(groups) == 0:  # one model has nothing to be weighed against
        rule, name = SoftVote(), "soft_vote"
    elif isinstance(rule, Automatic):
        name, tried = try_all(rule, unseen, FOLDS)
        rule = AUTOMATIC[name]
    inner = FITS[rule.kind](rule)(unseen)
    committee = Committee(groups, inner.kind, inner.parameters())
    votes = workshop.votes(candidates, workshop.validation)
    answers = workshop.answers(candidates[0].folder, workshop.validation)
    mixed = committee(votes.logs, votes.texts)
    validation = predicted(answers, votes, mixed, candidates[0].folder.labels, committee)
    place = write_members(workshop, candidates, committee.kind, committee.parameters())
    words = (
        f"{max(groups) + 1} models, each trained once for each of {groups.count(0)} folds, combined by {name.replace('_', ' ')} "
        f"learnt from {len(unseen):,} out-of-fold predictions."
    )
    return Made(place, words, candidates, range(len(candidates)), None, validation, tried=tried)


def out_of_fold(workshop: Workshop, candidates: Sequence[Candidate]) -> Votes:
    """What each model says of the training rows, always by the one of its folds that had not seen the row.

    Raises:
        DataError: if the models' folds have no row in common.
    """
    by_group: dict[int, dict[str, Prediction]] = {}
    for one in candidates:
        predictions = workshop.answers(one.folder, list(one.held))
        by_group.setdefault(one.group or 0, {}).update({row.key: row for row in predictions})
    shared = [key for key in by_group[0] if all(key in rows for rows in by_group.values())]
    if not shared:
        raise DataError("the models' folds have no row in common; expected members trained on the same rows")
    first = {one.group or 0: one.folder.labels for one in reversed(candidates)}
    return votes_of([[rows[key] for key in shared] for rows in by_group.values()], [first[group] for group in by_group])


def predicted(
    answers: Sequence[Prediction], votes: Votes, mixed: np.ndarray, labels: Sequence[str], combiner: Combiner
) -> list[Prediction]:
    """Predictions out of mixed probabilities, shape (rows, classes)."""
    chosen, scores = mixed.argmax(-1), logs_of(mixed)
    unsure = uncertainty(votes.logs, combiner.shares(votes.members), chosen)
    return [
        dataclasses.replace(
            one,
            output=labels[chosen[row]],
            probability=float(mixed[row, chosen[row]]),
            loss_sum=-float(scores[row, votes.classes[row]]),
            logits=scores[row].tolist(),
            notes=one.notes | unsure.of_row(row),
        )
        for row, one in enumerate(answers)
    ]


def write_members(
    workshop: Workshop,
    kept: Sequence[Candidate],
    rule: str,
    parameters: Mapping[str, Any],
    seeds: Sequence[int | None] | None = None,
) -> str:
    """Write an ensemble's folder."""
    known = {one.name: {"dropout_seed": seeds[index] if seeds else None} for index, one in enumerate(kept)}
    spec = {"labels": kept[0].folder.labels, "rule": rule, "parameters": dict(parameters)}
    return write_ensemble(
        workshop.run.storage, workshop.run.config, kept, spec, copy=workshop.settings.copy_members, members=known
    )


def mc_dropout(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """One classifier several times, dropout on; held against itself with dropout off."""
    rule: Any = workshop.settings.combine
    if len(candidates) != 1 or candidates[0].folder.kind != "classification":
        raise ConfigError(f"mc_dropout takes one classifier; found {len(candidates)} members: name one")
    [one] = candidates
    passes = [
        Candidate(f"pass-{number}", DropoutFolder(one.folder.path, number), one.place)
        for number in range(1, rule.passes + 1)
    ]
    votes, fit = workshop.votes(passes, workshop.validation), FITS[rule.kind](rule)
    combiner = fit(votes)
    answers = workshop.answers(one.folder, workshop.validation)
    validation = predicted(answers, votes, combiner(votes.logs, votes.texts), one.folder.labels, combiner)
    seeds = list(range(1, rule.passes + 1))
    place = write_members(workshop, passes, combiner.kind, combiner.parameters(), seeds)
    words = f"{rule.passes} passes of one classifier with dropout on, combined by soft vote."
    everyone = [*passes, one]
    return Made(place, words, everyone, range(len(passes)), None, validation, single=len(passes))


# -- causal models --------------------------------------------------------------------------------


def _of_causal(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    rule: Any = workshop.settings.combine
    if rule.kind == "auto":
        return token_mean(workshop, candidates)
    if rule.kind != "router":
        raise ConfigError(
            f"combine={rule.kind} needs classes, and the members are causal models; use token_mean, best_of_n, router, soup or "
            "lora_merge"
        )
    from tuning.ensemble.rules import fit_router

    answers = [workshop.answers(one.folder, workshop.validation) for one in candidates]
    losses = np.array([[row.loss_sum / max(row.loss_units, 1) for row in rows] for rows in answers])
    router = fit_router([row.prompt or "" for row in answers[0]], losses, rule)
    place = write_members(workshop, candidates, router.kind, router.parameters())
    words = f"{len(candidates)} causal models, each of which answers the questions of its kind."
    return Made(place, words, candidates, range(len(candidates)))


def token_mean(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """Causal models that write each token together."""
    rule = workshop.settings.combine
    if candidates[0].folder.kind != "causal_lm":
        raise ConfigError("token_mean is for causal models, and the members are classifiers; use soft_vote")
    space = rule.space if isinstance(rule, TokenMean) else "probabilities"
    number = len(candidates)
    place = write_members(workshop, candidates, TOKEN_MEAN, {"weights": [1 / number] * number, "space": space})
    from trainers.ensembles.folder import EnsembleFolder
    from tuning.ensemble.members import opened

    folder = opened(place)
    assert isinstance(folder, EnsembleFolder)
    folder.check_one_tokenizer()
    words = f"{number} causal models that write each token together (mean of {space.replace('_', '-')})."
    return Made(place, words, candidates, range(number))


def best_of_n(workshop: Workshop, candidates: Sequence[Candidate]) -> Made:
    """Causal models whose best answer by a reward is given."""
    from trainers.ensembles.best_of_n import reward_of
    from trainers.ensembles.spec import BEST_OF_N

    rule: Any = workshop.settings.combine
    if candidates[0].folder.kind != "causal_lm":
        raise ConfigError("best_of_n is for causal models, and the members are classifiers; use soft_vote")
    reward_of(rule.reward, rule.good_label)  # refuses what is no reward before anything is written
    parameters = {key: getattr(rule, key) for key in ("n", "temperature", "reward", "good_label")}
    place = write_members(workshop, candidates, BEST_OF_N, parameters)
    return Made(place, f"The best of {rule.n} answers by {rule.reward}.", candidates, range(len(candidates)))


def best_single(workshop: Workshop, made: Made) -> int:
    """The candidate that is best alone on the validation rows."""
    if made.single is not None:
        return made.single
    answers = [workshop.answers(one.folder, workshop.validation) for one in made.candidates]
    if made.candidates[0].folder.kind == "classification":
        votes = workshop.votes(made.candidates, workshop.validation)
        return votes.best_single("accuracy")
    losses = [mean_loss(rows) for rows in answers]
    if not np.isfinite(losses).any():
        raise DataError("no validation row carries loss, so no member can be called the best; give rows with answers")
    return int(np.argmin(losses))
