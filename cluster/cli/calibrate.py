"""`mobula evaluate --calibrate`: fit a model folder's probabilities on validation rows."""

from typing import TYPE_CHECKING

import click

from cluster.cli.output import print_json, print_table
from cluster.config import ClusterConfig, EvaluateConfig
from cluster.config.data import AnySource
from cluster.exceptions import UserError

if TYPE_CHECKING:
    from trainers.evaluation.confidence import Calibration
    from trainers.evaluation.subjects import Subject


def calibrate(
    subject: "Subject", files: list[AnySource], evaluate: EvaluateConfig, cluster: ClusterConfig, as_json: bool
) -> int:
    """Fit on the run's validation rows, or on those of `files`; write `calibration.json` into the folder, and say what it holds.

    Raises:
        UserError: for an endpoint, which has no folder to write into.
    """
    from cluster.session import ray_session
    from cluster.storage import Storage
    from trainers.evaluation.confidence.fit import calibrate_folder, write_calibration
    from trainers.evaluation.subjects import FolderSubject

    if not isinstance(subject, FolderSubject):
        raise UserError(
            f"{subject.name}: --calibrate writes into a model folder, and this is an endpoint; name its folder"
        )
    scratch = Storage.open(cluster.storage_path).child("scratch")
    with ray_session(cluster):
        calibration = calibrate_folder(subject.folder, files, evaluate, scratch=scratch)
    place = write_calibration(calibration, Storage.open(subject.folder.path))
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
