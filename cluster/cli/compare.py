"""`mobula compare`: say which model is better, and decide by a gate whether it may take the other's place."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli import compare_output
from cluster.cli.evaluate import Asked, Found, find, show_progress, test_sources
from cluster.cli.output import json_option, print_json, storage_option
from cluster.cli.sections import overridden
from cluster.config import CompareConfig, EvaluateConfig, GateConfig, RunConfig
from cluster.config.data import AnySource, as_sources
from cluster.exceptions import ConfigError, RegistryError, UserError

if TYPE_CHECKING:
    from trainers.evaluation import EvaluationResult
    from trainers.evaluation.compare import Side
    from trainers.evaluation.comparison import Comparison
    from trainers.evaluation.gate import Decision

_OVERRIDE = re.compile(r"(?P<section>[a-z_]+)(?:\.[\w-]+)+=", re.ASCII)
_SEED = re.compile(r"(?P<name>.+)-seed-?\d+", re.ASCII)
_LONGEST_NAME = 60


@dataclasses.dataclass(frozen=True)
class Question:
    """What the command line says.

    Attributes:
        targets: what was named, several trainings of one model together.
        settings: of the `evaluate` section, from options.
        choices: of the `compare` section, from options.
        gate: None where no decision is asked for, else a file, or "" for the candidate's own.
    """

    targets: list[list[str]]
    overrides: tuple[str, ...]
    data: tuple[str, ...]
    slices: tuple[str, ...]
    gate: str | None
    fresh: bool
    output: str | None
    storage_path: str
    settings: dict[str, int]
    choices: dict[str, Any]


class _WithGate(click.Command):
    """Lets `--gate` stand alone or as `--gate=FILE`, without taking the target behind it for the file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a lone `--gate` an empty value."""
        return super().parse_args(ctx, ["--gate=" if one == "--gate" else one for one in args])


@click.command(
    cls=_WithGate, epilog="Example: mobula compare models:/support@champion runs/support-2 --data test.jsonl --gate"
)
@click.argument("targets", metavar="TARGET[,TARGET]... [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--data", multiple=True, help="File, folder, glob or URL; can be repeated. Default: the run's data.test.")
@click.option(
    "--slice", "slices", multiple=True, metavar="COLUMN", help="Compare each value of this column or expression."
)
@click.option("--gate", metavar="[=FILE]", help="Decide by the run's gate section, or that of a file; see exit status.")
@click.option("--margin", "margins", multiple=True, metavar="METRIC=VALUE", help="Difference that does not matter.")
@click.option(
    "--rows",
    type=click.Choice(["same", "shared", "unpaired"]),
    help="Where rows differ: refuse, take those that all have, or test as unpaired.",
)
@click.option("--against", type=click.Choice(["first", "each"]), help="Compare with the first, or each with each.")
@click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini_hochberg", "none"]),
    help="Of p-values over metrics and pairs.",
)
@click.option("--max-rows", type=click.IntRange(min=1), help="Score at most so many rows.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest generated answer, in tokens.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows scored at once.")
@click.option("--fresh", is_flag=True, help="Evaluate anew, even what was evaluated before.")
@click.option(
    "--output", metavar="FOLDER", help="Where comparison.json and report.html go. Default: below the storage path."
)
@storage_option
@json_option
def command(as_json: bool, **named: Any) -> int:
    """Compare models on the same rows: differences with intervals, tests, slices, costs, and a verdict in words.

    A TARGET is a run.yaml, a run directory, a model folder, models:/NAME@ALIAS, an endpoint's URL (URL#MODEL) or a
    folder of an evaluation. What has not been evaluated on --data yet is. The first one is what the others are held
    against; a single one is held against gate.reference or the champion of its name. Several trainings of one model are
    named with commas (A1,A2,A3 B1,B2,B3) or end in -seed1, -seed2, ... A run.yaml with compare.variants is trained in each variant,
    and these are compared. Keys of the sections compare and evaluate can be overridden.

    Exit status with --gate: 0 pass, 1 fail, 4 inconclusive.
    """
    asked = _question(named)
    answer = _variants(asked) or _named(asked)
    folder = answer.write(asked)
    if as_json:
        print_json(answer.summary() | {"folder": folder})
    else:
        compare_output.show(answer.comparison, answer.decision)
        click.echo(f"\n{folder}/report.html")
    return answer.decision.exit_status if answer.decision else 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        comparison: None for a first version, which has nothing to be compared with.
        storage_path: of the runs that were compared.
    """

    comparison: "Comparison | None"
    decision: "Decision | None"
    storage_path: str

    def summary(self) -> dict[str, Any]:
        """All of it, ready for strict JSON."""
        from trainers.evaluation.figures import plain

        found = self.comparison.summary() if self.comparison else {}
        summary: dict[str, Any] = plain(found | ({"gate": self.decision.summary()} if self.decision else {}))
        return summary

    def write(self, asked: Question) -> str:
        """Write `comparison.json` and `report.html`, and say into which folder."""
        from cluster.storage import Storage
        from trainers.evaluation.page_comparison import render_comparison, render_decision

        names = [model.name for model in self.comparison.models] if self.comparison else []
        name = "-".join(names or [self.decision.candidate if self.decision else ""])
        inside = Storage.open(self.storage_path).child("comparisons", _as_file_name(name))
        storage = Storage.open(asked.output) if asked.output else inside
        storage.write_json("comparison.json", self.summary())
        if self.comparison is not None:
            storage.write_text("report.html", render_comparison(self.comparison, self.decision))
        elif self.decision is not None:
            storage.write_text("report.html", render_decision(self.decision))
        return storage.place()


def _as_file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[: 2 * _LONGEST_NAME] or "comparison"


def _question(named: dict[str, Any]) -> Question:
    words: tuple[str, ...] = named["targets"]
    overrides = tuple(word for word in words if _OVERRIDE.match(word))
    for one in overrides:
        section = _OVERRIDE.match(one)["section"]  # type: ignore[index]
        if section not in RunConfig.model_fields:
            raise ConfigError(f"{one!r}: there is no section {section!r}; override keys of compare or evaluate")
    targets = [word.split(",") for word in words if word not in overrides]
    if not targets or not all(all(target) for target in targets):
        raise UserError(
            "found no model to compare; name a run.yaml, a run, a model folder, models:/NAME@ALIAS or a URL"
        )
    margins = {"margins": dict(map(_margin, named["margins"]))} if named["margins"] else {}
    choices = {name: named[name] for name in ("rows", "against", "correction") if named[name]}
    settings = {name: named[name] for name in ("max_rows", "max_new_tokens", "batch_size") if named[name]}
    rest = {name: named[name] for name in ("data", "slices", "gate", "fresh", "output", "storage_path")}
    return Question(_by_seed(targets), overrides, settings=settings, choices=choices | margins, **rest)


def _margin(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"--margin {text!r}: expected METRIC=VALUE, such as accuracy=0.005") from None


def _by_seed(targets: list[list[str]]) -> list[list[str]]:
    """Single targets whose names differ in `-seed1`, `-seed2`, ... only, together."""
    together: dict[str, list[str]] = {}
    for group in targets:
        found = _SEED.fullmatch(group[0].rstrip("/")) if len(group) == 1 else None
        together.setdefault(found["name"] if found else ",".join(group), []).extend(group)
    return list(together.values())


# -- variants of a run.yaml -----------------------------------------------------------------------


def _variants(asked: Question) -> Answer | None:
    """Train and compare the variants of a run.yaml that has some."""
    from cluster.config.load import load_config, load_variants

    (first, *others), *more = asked.targets
    if others or more or not first.endswith((".yaml", ".yml")):
        return None
    config = load_config(first, asked.overrides)
    if not config.compare.variants:
        return None
    if len(config.compare.variants) < 2:
        raise ConfigError(
            f"{first}: compare.variants has one variant; expected at least two, such as `all: {{}}` and one more"
        )
    from cluster.session import ray_session
    from trainers.evaluation.compare_variants import score_variants

    gate = _gate(asked, config) if asked.gate is not None else None
    if gate is not None:
        _check_candidates(len(config.compare.variants))
    evaluate, compare = _evaluate(config.evaluate, asked), _compare(config, asked)
    files = as_sources(asked.data) or config.data.sources("test")
    if not files:
        raise UserError(f"{first}: there is no data.test to score; add it, or name a file with --data")
    with ray_session(config.cluster):
        variants = load_variants(first, asked.overrides)
        sides = score_variants(variants, files, evaluate, slices=asked.slices, fresh=asked.fresh)
    return _answer(sides, compare, evaluate, gate, storage_path=config.cluster.storage_path)


# -- models that exist ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Named:
    """A model as the command line names it.

    Attributes:
        runs: what is scored, for each training; None where the target is an evaluation.
        results: evaluations that were named as such.
    """

    where: list[str]
    runs: list[Found]
    results: "list[EvaluationResult]"

    @property
    def config(self) -> RunConfig | None:
        """Of the run that made it."""
        return next((run.config for run in self.runs if run.config), None)

    @property
    def name(self) -> str:
        """A short name, without what tells its trainings apart."""
        text = self.config.name if self.config and self.where[0].endswith((".yaml", ".yml")) else self.where[0]
        text = self.results[0].subject or text if self.results else text
        if "://" not in text and not text.startswith("models:/"):
            parts = [part for part in Path(text).parts if part not in ("model", "/", "..")]
            text = parts[-1] if parts else text
        seed = _SEED.fullmatch(text)
        return (seed["name"] if seed and len(self.where) > 1 else text)[-_LONGEST_NAME:]


def _named(asked: Question) -> Answer:
    """Evaluate what was named and compare it."""
    named = [_find_all(targets, asked) for targets in asked.targets]
    candidate = named[-1]
    config = candidate.config or next((one.config for one in named if one.config), None)
    gate = _gate(asked, config) if asked.gate is not None else None
    if gate is not None:
        _check_candidates(len(named))
    if len(named) == 1:
        reference = _reference(asked, candidate, gate)
        named = [reference, candidate] if reference else named
    evaluate = _evaluate(config.evaluate if config else EvaluateConfig(), asked)
    sides = _scored(named, evaluate, config, asked)
    storage_path = candidate.runs[0].storage_path if candidate.runs else asked.storage_path
    return _answer(sides, _compare(config, asked), evaluate, gate, storage_path=storage_path)


def _find_all(targets: Sequence[str], asked: Question) -> Named:
    runs, results = [], []
    for target in targets:
        if _is_evaluation(target):
            from trainers.evaluation.store import load

            results.append(load(target))
        else:
            runs.append(find(_as_evaluated(target, asked)))
    if runs and results:
        raise UserError(f"{','.join(targets)}: name either evaluations or models for one side")
    return Named(list(targets), runs, results)


def _is_evaluation(target: str) -> bool:
    if target.startswith(("models:/", "http://", "https://")) or target.endswith((".yaml", ".yml")):
        return False
    from cluster.storage import Storage

    storage = Storage.open(target)
    return storage.exists("evaluation.json") and storage.exists("predictions")


def _as_evaluated(target: str, asked: Question) -> Asked:
    """The target as `mobula evaluate` would be given it."""
    url, _, model = target.partition("#")
    is_endpoint = target.startswith(("http://", "https://"))
    return Asked(
        target=url if is_endpoint else target,
        overrides=tuple(one for one in asked.overrides if one.startswith("evaluate.")),
        model=model or None if is_endpoint else None,
        storage_path=asked.storage_path,
        settings=asked.settings,
    )


def _reference(asked: Question, candidate: Named, gate: GateConfig | None) -> Named | None:
    """What a single candidate is held against; None for a first version under a gate."""
    config = candidate.config
    text = gate.reference if gate and gate.reference else f"models:/{config.name}@champion" if config else None
    if text is None:
        raise UserError(
            f"{candidate.where[0]}: name a second model to compare it with, since it has no run whose champion is known"
        )
    storage_path = candidate.runs[0].storage_path
    try:
        reference = _find_all([text], dataclasses.replace(asked, storage_path=storage_path))
    except RegistryError:
        if gate is None:
            raise
        return None
    if _place(reference) != _place(candidate):
        return reference
    if gate is None:
        raise UserError(f"{candidate.where[0]} is {text} itself; name another model to compare it with")
    return None


def _place(named: Named) -> str | None:
    """Where the model's folder lies."""
    from trainers.evaluation.subjects import FolderSubject

    subject = named.runs[0].subject if named.runs else None
    return str(Path(subject.folder.path).resolve()) if isinstance(subject, FolderSubject) else None


def _scored(
    named: Sequence[Named], evaluate: EvaluateConfig, config: RunConfig | None, asked: Question
) -> "list[Side]":
    """Every model with its evaluation on the same rows; only those that are no evaluations yet are evaluated."""
    from trainers.evaluation.compare import Side

    names = [one.name for one in named]
    texts = [",".join(one.where) for one in named]
    names = texts if len(set(names)) < len(names) else names
    files: list[AnySource] = []
    runs = [run for one in named for run in one.runs]
    if runs:
        source = next((run for run in reversed(runs) if run.config), runs[-1])
        files = as_sources(asked.data) or test_sources(source, named[-1].where[0])
    results = _results(named, files, evaluate, config, asked)
    return [Side(name, found, one.where, _seeds(one)) for name, found, one in zip(names, results, named, strict=True)]


def _results(
    named: Sequence[Named], files: list[AnySource], evaluate: EvaluateConfig, config: RunConfig | None, asked: Question
) -> "list[list[EvaluationResult]]":
    if not files:
        return [one.results for one in named]
    from cluster.config import ClusterConfig
    from cluster.session import ray_session
    from trainers.evaluation import How, evaluate_subject

    slices = asked.slices or evaluate.slices
    with ray_session(config.cluster if config else ClusterConfig()):
        return [
            one.results
            or [
                evaluate_subject(
                    run.subject,
                    files,
                    evaluate,
                    slices=slices,
                    how=How(run.storage_path, asked.fresh, "compare", show_progress),
                )
                for run in one.runs
            ]
            for one in named
        ]


def _seeds(named: Named) -> tuple[int, ...]:
    configs = [run.config for run in named.runs]
    return tuple(config.train.seed for config in configs if config) if all(configs) else ()


# -- settings -------------------------------------------------------------------------------------


def _answer(
    sides: "Sequence[Side]",
    compare_config: CompareConfig,
    evaluate: EvaluateConfig,
    gate: GateConfig | None,
    *,
    storage_path: str,
) -> Answer:
    from trainers.evaluation.compare import compare
    from trainers.evaluation.gate_facts import decide_by

    reference = sides[0] if len(sides) > 1 else None
    decision = decide_by(gate, sides[-1], reference, compare_config, evaluate.metrics) if gate is not None else None
    comparison = compare(sides, compare_config, evaluate.metrics) if len(sides) > 1 else None
    return Answer(comparison, decision, storage_path)


def _check_candidates(number: int) -> None:
    if number > 2:
        raise UserError(
            f"--gate decides on one candidate; found {number} models, expected the reference and the candidate"
        )


def _evaluate(base: EvaluateConfig, asked: Question) -> EvaluateConfig:
    """The settings by which all models are scored alike."""
    return overridden("evaluate", base, asked.overrides, asked.settings)


def _compare(config: RunConfig | None, asked: Question) -> CompareConfig:
    return overridden("compare", config.compare if config else CompareConfig(), asked.overrides, asked.choices)


def _gate(asked: Question, config: RunConfig | None) -> GateConfig:
    """The gate of the file that was named, or of the candidate's run."""
    from cluster.config.load import load_gate

    if asked.gate:
        return load_gate(asked.gate)
    if config is None or config.gate is None:
        whose = f"the run {config.name!r}" if config else "the candidate"
        raise ConfigError(
            f"--gate: {whose} has no `gate:` section; add one to its run.yaml, or name a file that has one with --gate=FILE"
        )
    return config.gate
