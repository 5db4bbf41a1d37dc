"""What an ensemble gained: against the best single member with paired tests, how differently members err, size against gain."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainers.ensembles.combine import SoftVote
from trainers.evaluation.compare import Side, compare
from trainers.evaluation.evaluate import How, evaluate_subject
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.subjects import FolderSubject
from trainers.folder import ModelFolder
from trainers.modelcard import shown
from tuning.ensemble.diversity import diversity
from tuning.ensemble.make import Made, best_single
from tuning.ensemble.rules import forward_order
from tuning.ensemble.votes import Votes
from tuning.ensemble.workshop import Workshop, mean_latency, mean_loss

REPORT, PAGE = "ensemble.json", "report.html"


def report_of(workshop: Workshop, made: Made, folder: ModelFolder) -> tuple[dict[str, Any], EvaluationResult | None]:
    """Everything there is to say of an ensemble, ready for JSON, and its evaluation on the test rows, if there are any."""
    single = best_single(workshop, made)
    rival = made.candidates[single]
    validation = made.validation or workshop.answers(folder, workshop.validation)
    results = {
        "validation": (
            workshop.result(rival.name, workshop.answers(rival.folder, workshop.validation), rival.folder),
            workshop.result("ensemble", validation, folder),
        )
    }
    tested = None
    if workshop.test:
        held = _on_test(workshop, rival.folder, rival.name)
        tested = _on_test(workshop, folder, "ensemble")  # last, so that it tells of both looks
        results["test"] = (held, tested)
    report: dict[str, Any] = {
        "name": workshop.run.config.name,
        "kind": folder.kind,
        "words": made.words,
        "members": _members(workshop, made),
        "best_single": rival.name,
        "tried": {name: score._asdict() for name, score in made.tried.items()},
        "cost": cost(workshop, made, folder, single),
        "looks": tested.sections.get("looks") if tested else None,
    }
    comparisons = {
        name: compare([Side(rival.name, [first]), Side("ensemble", [second])], workshop.run.config.compare)
        for name, (first, second) in results.items()
    }
    report["scores"] = {
        name: {"best_single": first.metrics, "ensemble": second.metrics, "intervals": second.intervals, "n": second.n}
        for name, (first, second) in results.items()
    }
    report["comparisons"] = {name: one.summary() for name, one in comparisons.items()}
    report["sentences"] = [f"{name}: {text}" for name, one in comparisons.items() for text in one.sentences]
    if folder.kind == "classification":
        report |= _of_classifiers(workshop, made, validation)
    return report, tested


def _on_test(workshop: Workshop, folder: ModelFolder, name: str) -> EvaluationResult:
    how = How(workshop.storage_path, purpose="ensemble")
    return evaluate_subject(FolderSubject(folder, name), workshop.test, workshop.evaluate, how=how)


def _members(workshop: Workshop, made: Made) -> list[dict[str, Any]]:
    """Every candidate alone on the validation rows."""
    weights = dict(zip(made.members, made.weights, strict=True)) if made.weights is not None else {}
    found = []
    for index, one in enumerate(made.candidates):
        answers = workshop.answers(one.folder, workshop.validation)
        known: dict[str, Any] = {
            "name": one.name,
            "place": one.place,
            "is_member": index in made.members,
            "weight": weights.get(index),
            "validation_loss": mean_loss(answers),
            "latency_s": mean_latency(answers),
        }
        if one.folder.kind == "classification":
            known["validation_accuracy"] = float(np.mean([row.output == row.reference for row in answers]))
        found.append(known)
    return found


def cost(workshop: Workshop, made: Made, folder: ModelFolder, single: int) -> dict[str, float]:
    """What the ensemble costs against the best single member."""
    from trainers.ensembles.folder import weight_bytes

    one = float(weight_bytes(made.candidates[single].folder))
    found = {"model_bytes": float(weight_bytes(folder)), "members": float(len(made.members))}
    found["relative_bytes"] = found["model_bytes"] / one if one else float("nan")
    times = [
        mean_latency(workshop.answers(made.candidates[index].folder, workshop.validation)) for index in made.members
    ]
    alone = mean_latency(workshop.answers(made.candidates[single].folder, workshop.validation))
    known = [time for time in times if time is not None]
    if made.is_merged:
        return found | {"members": 1.0, "relative_latency": 1.0, "relative_latency_in_parallel": 1.0}
    if alone and len(known) == len(times):
        found["relative_latency"] = sum(known) / alone
        found["relative_latency_in_parallel"] = max(known) / alone
    return found


def _of_classifiers(workshop: Workshop, made: Made, validation: Sequence[Prediction]) -> dict[str, Any]:
    """What votes can tell: diversity, size against gain, and what uncertainty is worth."""
    kept = [made.candidates[index] for index in made.members] if made.single is not None else list(made.candidates)
    votes = workshop.votes(kept, workshop.validation)
    found: dict[str, Any] = {"diversity": diversity(votes, [one.name for one in kept])}
    tested = workshop.votes(kept, workshop.test) if workshop.test and not made.is_merged else None
    if not made.is_merged:
        found["curve"] = curve(votes, tested, [one.name for one in kept])
    notes = [one for one in validation if "epistemic" in one.notes]
    if notes:
        found["uncertainty"] = uncertainty_of(notes)
    return found


def curve(votes: Votes, tested: Votes | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """Soft votes of the first one, two, ... members in the order in which they help most on the validation rows."""
    order, found = forward_order(votes, "loss"), []
    for size in range(1, len(order) + 1):
        some = order[:size]
        vote = SoftVote([1 / size] * size)
        point: dict[str, Any] = {"size": size, "added": names[some[-1]], "relative_latency": float(size)}
        for name, one in (("validation", votes), ("test", tested)):
            if one is not None:
                score = one.score(vote(one.logs[some], one.texts))
                point |= {f"{name}_accuracy": score.accuracy, f"{name}_loss": score.loss}
        found.append(point)
    return found


def uncertainty_of(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Mean uncertainty of rows that came out right and wrong, and how well each kind tells them apart (area under ROC)."""
    from scipy.stats import rankdata

    wrong = np.array([one.output != one.reference for one in predictions])
    found = {}
    for name in ("entropy", "aleatoric", "epistemic", "disagreement"):
        values = np.array([one.notes[name] for one in predictions])
        known: dict[str, float | None] = {"mean": float(values.mean()), "right": None, "wrong": None, "auc": None}
        if wrong.any() and not wrong.all():
            hits, ranks = int(wrong.sum()), rankdata(values)
            area = (ranks[wrong].sum() - hits * (hits + 1) / 2) / (hits * (len(wrong) - hits))
            known |= {"right": float(values[~wrong].mean()), "wrong": float(values[wrong].mean()), "auc": float(area)}
        found[name] = known
    return found


# -- the page -------------------------------------------------------------------------------------


def page(report: Mapping[str, Any]) -> str:
    """The report as one HTML page that opens offline."""
    from trainers.report import document, section, table

    scores = report["scores"]
    rows = [
        [name, which, *(shown(part[which].get(metric)) for metric in ("accuracy", "macro_f1", "exact_match", "loss"))]
        for name, part in scores.items()
        for which in ("best_single", "ensemble")
    ]
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in report["sentences"])
    looks = report.get("looks")
    said += f"<p>Test rows: {html.escape(looks['sentence'])}. Nothing was chosen on them.</p>" if looks else ""
    members = [
        [one["name"], shown(one.get("weight")), shown(one.get("validation_accuracy")), shown(one["validation_loss"])]
        for one in report["members"]
    ]
    parts = [
        section(
            "Against the best single member",
            table(["rows", "model", "accuracy", "macro F1", "exact match", "loss"], rows) + said,
        ),
        section("Members on validation rows", table(["member", "weight", "accuracy", "loss"], members)),
        section("Rules compared on validation rows", _tried(report["tried"])),
        section("Size against gain", _curve(report.get("curve", []))),
        section("How differently members err", _diversity(report.get("diversity"))),
        section("Uncertainty", _uncertainty(report.get("uncertainty"))),
        section(
            "Cost",
            table(["", "value"], [[name.replace("_", " "), shown(value)] for name, value in report["cost"].items()]),
        ),
    ]
    return document(html.escape(report["name"]), "Mobula ensemble", html.escape(report["words"]), parts)


def _tried(tried: Mapping[str, Mapping[str, float]]) -> str:
    from trainers.report import table

    rows = [[name, shown(one["accuracy"]), shown(one["loss"])] for name, one in tried.items()]
    return table(["rule, cross-validated", "accuracy", "loss"], rows) if rows else ""


def _curve(points: Sequence[Mapping[str, Any]]) -> str:
    from trainers.report import plot, table

    if len(points) < 2:
        return ""
    names = [name for name in ("validation", "test") if f"{name}_accuracy" in points[0]]
    plots = [
        plot(what, {name: [(one["size"], one[f"{name}_{what}"]) for one in points] for name in names}, across="members")
        for what in ("accuracy", "loss")
    ]
    rows = [
        [one["size"], one["added"], *(shown(one[f"{name}_accuracy"]) for name in names), f"{one['relative_latency']:g}"]
        for one in points
    ]
    head = ["members", "added", *(f"{name} accuracy" for name in names), "relative latency"]
    return f'<div class="plots">{"".join(plots)}</div>{table(head, rows)}'


def _diversity(found: Mapping[str, Any] | None) -> str:
    from trainers.report import table

    if not found or not found["pairs"]:
        return ""
    columns = list(found["mean"])
    rows = [["all pairs", "", *(shown(found["mean"][name]) for name in columns)]]
    rows += [[one["first"], one["second"], *(shown(one[name]) for name in columns)] for one in found["pairs"]]
    said = f"<p>All members are wrong on {found['all_wrong']:.1%} of the rows; some member is right on {found['any_right']:.1%}.</p>"
    return said + table(["", "", *(name.replace("_", " ") for name in columns)], rows)


def _uncertainty(found: Mapping[str, Mapping[str, float | None]] | None) -> str:
    from trainers.report import table

    if not found:
        return ""
    rows = [[name, *(shown(one[key]) for key in ("mean", "right", "wrong", "auc"))] for name, one in found.items()]
    return table(["in nats", "mean", "rows got right", "rows got wrong", "tells them apart (AUC)"], rows)
