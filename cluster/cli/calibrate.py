"""`mobula evaluate --calibrate`: fit a model folder's probabilities on validation rows."""

from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import print_json, print_table
from cluster.config.data import AnySource

if TYPE_CHECKING:
    from serving.target import Target
    from trainers.evaluation.confidence import Calibration


def calibrate(found: "Target", files: list[AnySource], settings: dict[str, Any], as_json: bool) -> int:
    """Fit on the run's validation rows, or on those of `files`; write `calibration.json` into the folder, and say what it holds."""
    from cluster.config import EvaluateConfig
    from cluster.session import ray_session
    from cluster.storage import Storage
    from trainers.evaluation.confidence.fit import calibrate_folder, write_calibration

    folder = found.folder
    configured = folder.config.evaluate if folder.config else EvaluateConfig()
    evaluate = EvaluateConfig.model_validate(configured.model_dump() | settings)
    scratch = Storage.open(found.cluster.storage_path).child("scratch")
    with ray_session(found.cluster):
        calibration = calibrate_folder(folder, files, evaluate, scratch=scratch)
    place = write_calibration(calibration, Storage.open(folder.path))
    if as_json:
        print_json({"written": place, **calibration.described})
    else:
        print_calibration(calibration, place)
    return 0


def print_calibration(calibration: "Calibration", place: str) -> None:
    """What was fitted, on stdout."""
    temperature = calibration.calibrator.parameters().get("temperature")
    chosen = f"{calibration.calibrator.kind}" + (f" {temperature:.3f}" if temperature is not None else "")
    click.echo(f"{chosen}, fitted on {calibration.n:,} rows of {', '.join(calibration.sources)}")
    losses = sorted(calibration.losses.items(), key=lambda entry: entry[1])
    print_table(["calibrator", "loss on rows left out"], [[kind, loss] for kind, loss in losses])
    if calibration.conformal is not None:
        sets = calibration.conformal
        click.echo(f"label sets ({sets.kind}) hold the right one in {1 - sets.alpha:.0%} of rows drawn like these")
    click.echo(f"written to {place}")
