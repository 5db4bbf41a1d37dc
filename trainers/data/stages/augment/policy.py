"""Several augmenting stages as one: who makes which copy."""

from __future__ import annotations

from typing import Any

from cluster.config.stages.augment import PolicyStage
from trainers.data.stages.augment.base import NOTE, Augmenter, Draft, fits
from trainers.data.stages.base import StageContext


class Policy(Augmenter[PolicyStage]):
    """Draws for each copy which of its stages change it; the note of the copy names them."""

    def __init__(self, config: PolicyStage, context: StageContext) -> None:
        from trainers.data.stages import build_stage

        super().__init__(config, context)
        self.stages: list[Augmenter[Any]] = [build_stage(stage, context) for stage in config.stages]  # type: ignore[misc]

    @classmethod
    def inputs(cls, config: PolicyStage) -> Any:
        """What decides the outcome of each stage inside."""
        from trainers.data.stages import stage_class

        return [(stage_class(stage.kind).version, stage_class(stage.kind).inputs(stage)) for stage in config.stages]

    def augment(self, drafts: list[Draft]) -> None:
        plans = [self._choose(draft) for draft in drafts]
        for number, stage in enumerate(self.stages):
            stage.augment([draft for draft, plan in zip(drafts, plans, strict=True) if number in plan])
        for draft, plan in zip(drafts, plans, strict=True):
            draft.record.notes[NOTE] = "+".join(self.stages[number].config.kind for number in plan)

    def _choose(self, draft: Draft) -> list[int]:
        """Numbers of the stages that make this copy; none if no stage is for such rows."""
        able = [number for number, stage in enumerate(self.stages) if fits(draft.record, stage.config)]
        shares = [self.stages[number].config.share for number in able]
        if self.config.choose == "one":
            return draft.rng.choices(able, shares) if able else []
        return [number for number, share in zip(able, shares, strict=True) if draft.rng.random() < share]
