"""The stages that `data.stages` may name. One group of kinds per file; trainers.data.stages has what they do."""

from typing import Annotated

from pydantic import Field

from cluster.config.stages.augment import AugmentStage
from cluster.config.stages.base import Split, StageConfig, TrainOnlyStage
from cluster.config.stages.user import PythonStage

Stage = Annotated[PythonStage | AugmentStage, Field(discriminator="kind")]

__all__ = ["PythonStage", "Split", "Stage", "StageConfig", "TrainOnlyStage"]
