"""The config models of `run.yaml`. Imports neither torch nor ray."""

from cluster.config.base import Config
from cluster.config.card import CardConfig
from cluster.config.compare import CompareConfig
from cluster.config.data import Columns, DataConfig
from cluster.config.evaluate import EvaluateConfig, MetricSpec
from cluster.config.gate import GateConfig
from cluster.config.judge import DialogueConfig, JudgeConfig, RatingsConfig
from cluster.config.model import ModelConfig, Pretrained, Scratch
from cluster.config.resources import ClusterConfig
from cluster.config.run import RunConfig
from cluster.config.serve import ServeConfig
from cluster.config.train import Classification, FullWeights, Lora, SupervisedFineTuning, TrainConfig

__all__ = [
    "CardConfig",
    "Classification",
    "ClusterConfig",
    "Columns",
    "CompareConfig",
    "Config",
    "DataConfig",
    "DialogueConfig",
    "EvaluateConfig",
    "FullWeights",
    "GateConfig",
    "JudgeConfig",
    "Lora",
    "MetricSpec",
    "ModelConfig",
    "Pretrained",
    "RatingsConfig",
    "RunConfig",
    "Scratch",
    "ServeConfig",
    "SupervisedFineTuning",
    "TrainConfig",
]
