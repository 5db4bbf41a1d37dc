"""Which parameters move. A new adaptation is one new file, its config, and one line here."""

from cluster.config import RunConfig
from trainers.adaptations.base import Adaptation
from trainers.adaptations.full import FullWeightsAdaptation
from trainers.adaptations.lora import LoraAdaptation

ADAPTATIONS: dict[str, type[Adaptation]] = {
    "full": FullWeightsAdaptation,
    "lora": LoraAdaptation,
}


def build_adaptation(config: RunConfig) -> Adaptation:
    """The adaptation that `train.adaptation` names."""
    return ADAPTATIONS[config.train.adaptation.kind](config)


__all__ = ["ADAPTATIONS", "Adaptation", "build_adaptation"]
