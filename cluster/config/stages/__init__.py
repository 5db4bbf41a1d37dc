"""The stages that `data.stages` may name. One group of kinds per file; trainers.data.stages has what they do."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from cluster.config.stages.augment import AugmentStage
from cluster.config.stages.base import Split, StageConfig, TrainOnlyStage
from cluster.config.stages.clean import CleanStage
from cluster.config.stages.select import SelectionStage
from cluster.config.stages.split import SplittingStage
from cluster.config.stages.user import PythonStage

Stage = Annotated[
    PythonStage | CleanStage | AugmentStage | SelectionStage | SplittingStage, Field(discriminator="kind")
]


def parse_stages(values: list[dict[str, Any]]) -> list[StageConfig]:
    """Stage configs from plain values, as `data.stages` holds them."""
    return list(TypeAdapter(list[Stage]).validate_python(values))


__all__ = ["PythonStage", "Split", "Stage", "StageConfig", "TrainOnlyStage", "parse_stages"]
