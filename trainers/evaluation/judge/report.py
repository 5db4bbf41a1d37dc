"""What judges and people said of rows, looked at together: can the judge be trusted, do the people agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from cluster.config.judge import JudgeConfig
from trainers.evaluation.judge.agreement import agreement, krippendorff_alpha
from trainers.evaluation.judge.annotate import ASKED, MISSING, NONSENSE, PROBLEM
from trainers.evaluation.judge.metrics import SCORES
from trainers.evaluation.judge.ratings import STALE
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics.intervals import interval_for, wilson

SHOWN_PROBLEMS = 3
FEW_ROWS = 20
"""With fewer judged by both, agreement is a guess."""
ALPHA = 0.05


def report(rows: Rows, config: JudgeConfig | None = None, confidence: float = 0.95) -> dict[str, Any]:
    """What a page about an evaluation shows of judges and people, ready for JSON: `asked`, `position`, `length`, `people`
    and `agreement`, each only where there is something to say. Empty if nobody judged."""
    parts = {
        "asked": _asked(rows),
        "position": _position(rows, confidence),
        "length": _length(rows, confidence),
        "people": _people(rows, confidence),
        "agreement": _agreement(rows, config, confidence),
    }
    return {name: part for name, part in parts.items() if part}


def sentences(found: dict[str, Any]) -> list[str]:
    """What a report says in words."""
    parts = [part for part in found.values() if isinstance(part, dict)]
    own = [text for part in parts for name, text in part.items() if name.endswith("sentence")]
    return own + [one["sentence"] for one in found.get("agreement", {}).values() if "sentence" in one]


def _asked(rows: Rows) -> dict[str, Any]:
    notes = [one.notes for one in rows.predictions if ASKED in one.notes]
    if not notes:
        return {}
    counts = {name: sum(note[key] for note in notes) for name, key in _COUNTS.items()}
    problems = [
        problem
        for problem, _ in Counter(note[PROBLEM] for note in notes if PROBLEM in note).most_common(SHOWN_PROBLEMS)
    ]
    found = {**counts, "problems": problems}
    if not counts["missing"]:
        return found
    share = f"{counts['missing']} of {counts['requests']} requests ({counts['missing'] / counts['requests']:.1%})"
    return {**found, "sentence": f"The judge gave no verdict to {share}; the scores are of the rest."}


_COUNTS = {"requests": ASKED, "nonsense": NONSENSE, "missing": MISSING}


def _position(rows: Rows, confidence: float) -> dict[str, Any]:
    """How often a verdict turned when the two answers changed places."""
    found = Counter(one.notes["judge_swap"] for one in rows.predictions if "judge_swap" in one.notes)
    pairs = found.total()
    if not pairs:
        return {}
    turned = pairs - found["same"]
    interval = wilson(turned, pairs, confidence)
    sentence = (
        f"Of {pairs} pairs, {turned} verdicts turned when the answers changed places ({turned / pairs:.1%}, between "
        f"{interval.low:.1%} and {interval.high:.1%}) and count as ties; {found['first']} times the first place won both times, "
        f"{found['second']} times the second."
    )
    named = {"turned_to_first": found["first"], "turned_to_second": found["second"]}
    limits = {"low": interval.low, "high": interval.high}
    return {"pairs": pairs, "turned": turned, "share": turned / pairs, **limits, **named, "sentence": sentence}


def _length(rows: Rows, confidence: float) -> dict[str, Any]:
    """Whether longer answers fare better with the judge. That may be their merit; it is said so that someone looks."""
    return _length_of_scores(rows) | _length_of_winners(rows, confidence)


def _length_of_scores(rows: Rows) -> dict[str, Any]:
    from scipy import stats

    name = next((name for name in SCORES if not np.isnan(rows.note(name)).all()), None)
    if name is None:
        return {}
    scores = rows.note(name)
    told = ~np.isnan(scores)
    lengths = np.array([len(one or "") for one in rows.outputs], np.float64)[told]
    if told.sum() < 3 or np.ptp(lengths) == 0 or np.ptp(scores[told]) == 0:
        return {}
    found = stats.spearmanr(lengths, scores[told])
    rho, p_value = float(found.statistic), float(found.pvalue)
    known = {"score": name, "spearman": rho, "spearman_p": p_value, "n": int(told.sum())}
    if p_value < ALPHA and rho > 0:
        return {
            **known,
            "sentence": f"Longer answers have better scores ({name}, Spearman {rho:.2f}): see whether that is their merit.",
        }
    return known


def _length_of_winners(rows: Rows, confidence: float) -> dict[str, Any]:
    notes = [one.notes for one in rows.predictions if "judge_win" in one.notes]
    decided = [note for note in notes if note["judge_win"] != 0.5 and note["judge_longer"]]
    if not decided:
        return {}
    won = sum((note["judge_win"] == 1.0) == (note["judge_longer"] > 0) for note in decided)
    interval = wilson(won, len(decided), confidence)
    known = {
        "decided_pairs": len(decided),
        "longer_won": won / len(decided),
        "longer_won_low": interval.low,
        "longer_won_high": interval.high,
    }
    if interval.low > 0.5:
        words = f"The longer answer won {won} of {len(decided)} decided pairs: see whether that is its merit."
        return {**known, "pairs_sentence": words}
    return known


def _people(rows: Rows, confidence: float) -> dict[str, Any]:
    """Mean rating with its interval, and how far raters agree with each other."""
    means = rows.note("human_rating")
    stale = sum(one.notes.get(STALE, 0) for one in rows.predictions)
    rated = int((~np.isnan(means)).sum())
    if not rated:
        return {"rows": 0, "stale": stale, "sentence": _stale(stale)} if stale else {}
    table = rater_table([one.notes.get("human_ratings", {}) for one in rows.predictions])
    statistic = Sums.mean(means)
    found: dict[str, Any] = {"rows": rated, "raters": table.shape[1], "mean": statistic.value}
    if rated > 1:
        interval = interval_for(statistic, confidence=confidence, num_resamples=2_000)
        found |= {"low": interval.low, "high": interval.high}
    if stale:
        found |= {"stale": stale, "sentence": _stale(stale)}
    alpha = krippendorff_alpha(table)
    return found if alpha is None else {**found, "krippendorff_alpha": alpha, **_between(table)}


def _stale(count: int) -> str:
    return f"{count} ratings are of other answers than the model gives now, and do not count."


def _between(table: np.ndarray) -> dict[str, float]:
    """Share of pairs of ratings of the same row that are equal."""
    pairs = [(row[~np.isnan(row)]) for row in table]
    equal = sum(int((one[:, None] == one[None, :]).sum()) - len(one) for one in pairs)
    total = sum(len(one) * (len(one) - 1) for one in pairs)
    return {"raw_agreement": equal / total} if total else {}


def rater_table(ratings: Sequence[dict[str, float]]) -> np.ndarray:
    """Ratings as a table, shape (rows, raters), nan where a rater left a row out."""
    raters = list(dict.fromkeys(rater for one in ratings for rater in one))
    return np.array([[one.get(rater, np.nan) for rater in raters] for one in ratings], np.float64).reshape(
        len(ratings), -1
    )


def _agreement(rows: Rows, config: JudgeConfig | None, confidence: float) -> dict[str, Any]:
    """Judge and people on the rows that both judged, for each score of the judge."""
    people = rows.note("human_median")
    found: dict[str, Any] = {}
    for name in SCORES:
        scores = rows.note(name)
        both = int((~np.isnan(people) & ~np.isnan(scores)).sum())
        if both < 2:
            continue
        same_scale = name == "judge" and _on_scale(people, config)
        found[name] = agreement(scores, people, same_scale=same_scale, confidence=confidence).summary()
        if both < FEW_ROWS:
            found[name]["sentence"] = f"Only {both} rows were judged by both; take the agreement for a guess."
    return found


def _on_scale(people: np.ndarray, config: JudgeConfig | None) -> bool:
    """Whether people rated on the rubric's scale, as far as their numbers tell."""
    if config is None or config.rubric is None:
        return False
    given = people[~np.isnan(people)]
    return bool(given.min() >= config.rubric.lowest and given.max() <= config.rubric.highest)
