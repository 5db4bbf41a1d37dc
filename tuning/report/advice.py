"""What to try next, in words, derived from the trials."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cluster.config.tune import Domain, IntRange
from tuning.report.facts import Sample, StudyFacts
from tuning.report.history import best_so_far, costs, still_learning
from tuning.report.importance import Importance
from tuning.report.regression import Fit
from tuning.report.surrogate import Surrogate
from tuning.report.winner import Lead, is_seed, noise_of, repeats

EDGE = 0.1
"""This near to an end of its range, a value is at the edge."""
IDLE = 0.04
"""A setting with less than this share of the importance does not matter."""
LEAST_TO_STOP = 10
"""Trials before which nobody can say that more would not help."""
TOP = 0.25
WELL_KNOWN = 0.2
"""Share of the scores that a model of the study must explain before it is believed."""


@dataclasses.dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        kind: `widen`, `fix`, `drop`, `stop`, `continue`, `repeat`, `cheaper`, `longer`, `failures` or `more`.
        setting: the key it is about; empty where it is about the study.
        sentence: what was found and what to do.
    """

    kind: str
    setting: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Known:
    """What advice is drawn from."""

    study: StudyFacts
    sample: Sample
    surrogate: Surrogate | None
    importances: Sequence[Importance]
    regressions: Sequence[Fit]
    lead: Lead | None

    @property
    def is_well_known(self) -> bool:
        return self.surrogate is not None and self.surrogate.r2 >= WELL_KNOWN

    @property
    def top(self) -> np.ndarray:
        """Places of the best quarter of the trials, at least three, shape (k, d)."""
        order = np.argsort(-self.goodness)
        return np.asarray(self.sample.units[order[: max(3, int(TOP * self.sample.n))]])

    @property
    def goodness(self) -> np.ndarray:
        return np.asarray(self.sample.scores * (1.0 if self.sample.maximises else -1.0))


def advise(known: Known) -> list[Advice]:
    """Everything there is to say, the weightiest first."""
    parts = (_failures, _at_the_edge, _whether_to_go_on, _longer, _without_importance, _poor_choices, _unsure, _cheaper)
    return [advice for part in parts for advice in part(known)]


def _at_the_edge(known: Known) -> Iterator[Advice]:
    """The best trial and most of the best quarter lie at an end of a range."""
    best = known.study.best.outcome.values
    for at, key in enumerate(known.sample.keys):
        domain = known.study.space[key]
        unit = known.sample.settings.unit(key, best.get(key))
        if key in known.sample.settings.choices or is_seed(key) or EDGE < unit < 1 - EDGE:
            continue
        upper = unit > 0.5
        middle = float(np.median(known.top[:, at]))
        if (middle < 2 / 3 if upper else middle > 1 / 3) or _is_natural_end(domain, upper):
            continue
        end, beyond = ("high", domain.high) if upper else ("low", domain.low)  # type: ignore[union-attr]
        shown = known.sample.settings.shown(key, best[key])
        yield Advice(
            "widen",
            key,
            f"{key}: the best trial took {shown}, at the {'upper' if upper else 'lower'} end of its range, and the best quarter "
            f"leans there too. Move `{end}` from {beyond:g} to about {_wider(domain, upper):.3g}.",
        )


def _is_natural_end(domain: Domain, upper: bool) -> bool:
    """0 and 1 of a share end where they end."""
    low, high = float(domain.low), float(domain.high)  # type: ignore[union-attr]
    return (upper and high == 1.0 and low >= 0.0) or (
        not upper and (low == 0.0 or (isinstance(domain, IntRange) and low == 1))
    )


def _wider(domain: Domain, upper: bool) -> float:
    """Half a range beyond the end."""
    low, high = float(domain.low), float(domain.high)  # type: ignore[union-attr]
    if domain.log:  # type: ignore[union-attr]
        factor = (high / low) ** 0.5
        return high * factor if upper else low / factor
    beyond = high + (high - low) / 2 if upper else low - (high - low) / 2
    return max(beyond, low / 2) if low > 0 and not upper else beyond


def _without_importance(known: Known) -> Iterator[Advice]:
    if not known.is_well_known or len(known.importances) < 2:
        return
    sure = {key for fit in known.regressions[:1] for term in fit.terms if term.is_sure for key in term.settings}
    best = known.study.best.outcome.values
    for one in known.importances:
        if one.mean < IDLE and one.setting not in sure and not is_seed(one.setting):
            shown = known.sample.settings.shown(one.setting, best.get(one.setting))
            yield Advice(
                "fix",
                one.setting,
                f"{one.setting}: its importance is {one.mean:.1%}, and no regression finds an effect. Fix it at {shown} and "
                "search the others.",
            )


def _poor_choices(known: Known) -> Iterator[Advice]:
    from scipy.stats import mannwhitneyu

    for at, key in enumerate(known.sample.keys):
        for number, value in enumerate(known.sample.settings.choices.get(key, [])):
            size = len(known.sample.settings.choices[key])
            has = np.minimum((known.sample.units[:, at] * size).astype(int), size - 1) == number
            in_top = np.minimum((known.top[:, at] * size).astype(int), size - 1) == number
            if has.sum() < 4 or (~has).sum() < 4 or in_top.any():
                continue
            p_value = mannwhitneyu(known.goodness[has], known.goodness[~has], alternative="less").pvalue
            if p_value < 0.01 / size:
                yield Advice(
                    "drop",
                    key,
                    f"{key}: none of the {int(has.sum())} trials with {value} is among the best quarter, and they score lower "
                    f"(p = {p_value:.2g}). Leave that value out.",
                )


def _whether_to_go_on(known: Known) -> Iterator[Advice]:
    study, n = known.study, len(known.study.scored)
    if n < LEAST_TO_STOP:
        yield Advice(
            "more",
            "",
            f"{n} trials are few: raise tune.num_trials to at least {LEAST_TO_STOP} before drawing conclusions.",
        )
        return
    goodness = study.objective.sign * study.scores()
    record = best_so_far(goodness, True)
    gained, noise = float(record[-1] - record[n // 2 - 1]), noise_of(study)
    small = max(noise, 0.02 * float(np.subtract(*np.quantile(goodness, [0.75, 0.25]))))
    hoped = _hoped(known)
    if gained > small:
        yield Advice(
            "continue",
            "",
            f"The last {n - n // 2} trials still raised the best score by {gained:.3g}. Raise tune.num_trials (now {n} have "
            "a score) and run `mobula tune` again: it goes on from here.",
        )
    elif hoped is None or hoped <= small:
        model = (
            ""
            if hoped is None
            else f", and the model of the study expects {max(hoped, 0.0):.2g} more at its best place"
        )
        yield Advice(
            "stop",
            "",
            f"More trials of this space are unlikely to help: the last {n - n // 2} of {n} gained {gained:.3g}{model}; less "
            f"than {small:.2g} cannot be told from chance.",
        )
    else:
        yield Advice(
            "continue",
            "",
            f"The last {n - n // 2} trials gained only {gained:.3g}, but the model of the study expects {hoped:.2g} more at a "
            "place that was not tried. A few more trials with `tune.search: {kind: gp}` will tell.",
        )


def _hoped(known: Known) -> float | None:
    """What the model of the study expects of its best place beyond what it expects of the best trial."""
    if known.surrogate is None or not known.is_well_known:
        return None
    from scipy.stats import qmc

    sign = 1.0 if known.sample.maximises else -1.0
    places = qmc.Sobol(len(known.sample.keys), seed=0).random(2048)
    expected, tried = sign * known.surrogate(places), sign * known.surrogate(known.sample.units)
    return float(expected.max() - tried.max())


def _longer(known: Known) -> Iterator[Advice]:
    study = known.study
    ended = [trial for trial in study.ranked if not trial.outcome.stopped]
    top = [
        trial for trial in ended[: max(3, int(TOP * len(ended)))] if len(trial.evaluations(study.objective.name)) >= 3
    ]
    noise = noise_of(study)
    rising = [trial for trial in top if still_learning(trial, study.objective, noise)]
    if len(top) >= 2 and len(rising) > len(top) / 2:
        yield Advice(
            "longer",
            "",
            f"{len(rising)} of the {len(top)} best trials were still improving at their last evaluation. Give trials more "
            "budget (train.num_train_epochs or train.max_steps), and let a scheduler stop the poor ones.",
        )


def _unsure(known: Known) -> Iterator[Advice]:
    if known.lead is None or known.lead.low > 0 or known.lead.probability >= 0.95:
        return
    seeds = (
        ""
        if repeats(known.study)
        else ", or repeat both with several seeds (`train.seed` among the keys of tune.space)"
    )
    yield Advice(
        "repeat",
        "",
        f"The winner cannot be told from the second (better with probability {known.lead.probability:.0%}): take whichever is "
        f"cheaper, average or ensemble them, compare them on more validation rows{seeds}.",
    )


def _cheaper(known: Known) -> Iterator[Advice]:
    """Within one standard error of the best, the cheapest is as good (Breiman and others 1984)."""
    study, noise = known.study, noise_of(known.study)
    found = [one for one in costs(study) if np.isfinite(one.train_s)]
    if not noise or len(found) < 2 or found[0].name != study.best.name:
        return
    best = found[0]
    equals = [one for one in found if study.objective.sign * (best.quality - one.quality) <= noise]
    cheapest = min(equals, key=lambda one: one.train_s)
    if cheapest.train_s < 0.8 * best.train_s:
        yield Advice(
            "cheaper",
            "",
            f"{cheapest.name} is within one standard error ({noise:.2g}) of the best and trains in {cheapest.train_s:,.3g} s "
            f"instead of {best.train_s:,.3g} s.",
        )


def _failures(known: Known) -> Iterator[Advice]:
    failed = known.study.failed
    if not failed:
        return
    reason, number = Counter(str(trial.outcome.error) for trial in failed).most_common(1)[0]
    where = _where_they_fail(known.study)
    yield Advice(
        "failures",
        where[0] if where else "",
        f"{len(failed)} of {len(known.study.trials)} trials failed, {number} of them with: {reason[:200]}."
        + (f" {where[1]}" if where else ""),
    )


def _where_they_fail(study: StudyFacts) -> tuple[str, str] | None:
    """A setting whose values tell failed trials from the others."""
    from scipy.stats import mannwhitneyu

    settings = study.settings
    failed = [trial.outcome.values for trial in study.failed if trial.outcome.values]
    fine = [trial.outcome.values for trial in study.scored]
    if len(failed) < 3 or len(fine) < 3:
        return None
    bad, good = settings.units(failed), settings.units(fine)
    p_values = [mannwhitneyu(bad[:, at], good[:, at]).pvalue * len(settings) for at in range(len(settings))]
    at = int(np.argmin(p_values))
    if p_values[at] > 0.01:
        return None
    key = settings.keys[at]
    higher = bool(np.median(bad[:, at]) > np.median(good[:, at]))
    middle = settings.shown(key, settings.value(key, float(np.median(bad[:, at]))))
    return (
        key,
        f"They have {'higher' if higher else 'lower'} values of {key} (half of them beyond {middle}): narrow it there.",
    )
