"""`train:` how it is learnt. Names are those of Hugging Face and LLaMA-Factory where they have one."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cluster.config.base import Config, with_default_kind
from cluster.config.deepspeed import resolve_deepspeed


class SupervisedFineTuning(Config):
    """Next-token prediction on the assistant's tokens of a causal model."""

    kind: Literal["sft"] = "sft"
    train_on_prompt: bool = False
    """Let system and user tokens carry loss too."""


class Classification(Config):
    """One label per text, on an encoder or a decoder with a classification head."""

    kind: Literal["classification"] = "classification"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target probability spread over all classes."""
    mixup_alpha: float = Field(default=0.0, ge=0.0)
    """Train on blends of two texts and their labels, mixed at the embeddings with a share drawn from Beta(alpha, alpha)
    (Guo et al. 2019, arXiv 1905.08941); 0.2 to 1 is usual, 0 does not mix."""


Objective = Annotated[
    Annotated[SupervisedFineTuning | Classification, Field(discriminator="kind")],
    BeforeValidator(with_default_kind("sft")),
]


class FullWeights(Config):
    """Every parameter moves."""

    kind: Literal["full"] = "full"


class Lora(Config):
    """Low-rank updates beside frozen weights (Hu et al. 2021, arXiv 2106.09685), by PEFT."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    """Rank of the update matrices; the adapter's size grows with it."""
    alpha: int | None = Field(default=None, ge=1)
    """Scale of the update, as `alpha / rank`. Default: twice the rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout before the update."""
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Names of the layers that get an update, or `all-linear` for every linear layer but the output."""


Adaptation = Annotated[
    Annotated[FullWeights | Lora, Field(discriminator="kind")], BeforeValidator(with_default_kind("full"))
]


class ProgressSchedule(Config):
    """Follow the progress of the run."""

    kind: Literal["progress"] = "progress"
    points: list[tuple[float, float]] = Field(min_length=1)
    """`[progress, share]` pairs, both from 0 to 1, with straight lines between: `[[0, 0], [0.5, 1]]` lets the augmented
    rows in over the first half."""

    @field_validator("points")
    @classmethod
    def points_rise_within_0_and_1(cls, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        places = [place for place, _ in points]
        if places != sorted(set(places)) or not all(0.0 <= number <= 1.0 for point in points for number in point):
            raise ValueError(f"found {points}; expected [progress, share] pairs within 0 and 1, progress rising")
        return points


class PlateauSchedule(Config):
    """Change when the validation metric stops getting better."""

    kind: Literal["plateau"] = "plateau"
    start: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share at the beginning."""
    step: float = Field(default=0.25, ge=-1.0, le=1.0)
    """What is added to the share each time; negative to take augmented rows out."""
    end: float = Field(default=1.0, ge=0.0, le=1.0)
    """Where the share stops."""
    patience: int = Field(default=1, ge=1)
    """Evaluations in a row without a better `metric_for_best_model` that make one change."""

    @model_validator(mode="after")
    def step_leads_to_end(self) -> Self:
        if (self.end - self.start) * self.step < 0 or (self.step == 0 and self.end != self.start):
            raise ValueError(f"step={self.step:g} does not lead from start={self.start:g} to end={self.end:g}")
        return self


AugmentationSchedule = ProgressSchedule | PlateauSchedule


class TrainConfig(Config):
    objective: Objective = SupervisedFineTuning()
    """What is minimised."""
    adaptation: Adaptation = FullWeights()
    """Which parameters move."""
    deepspeed: str | dict[str, Any] = "auto"
    """ZeRO preset (`zero0`, `zero1`, `zero2`, `zero3`, `zero2_offload`, `zero3_offload`, also spelt `ds_z2`, ...),
    path of a DeepSpeed JSON file, or the JSON itself. `auto`: zero0 on one worker, zero2 on several."""
    augmentation_schedule: Annotated[AugmentationSchedule, Field(discriminator="kind")] | None = None
    """What share of the rows that `data.stages` made by augmentation carries loss, as training goes on. Default: all of
    them, always."""
    num_train_epochs: float = Field(default=3.0, gt=0.0)
    """Passes over the training rows; fractions are allowed."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many optimizer steps, however many epochs that is."""
    per_device_train_batch_size: int = Field(default=8, ge=1)
    """Sequences in one forward pass on one worker."""
    per_device_eval_batch_size: int = Field(default=16, ge=1)
    """Sequences in one forward pass on one worker during evaluation."""
    global_batch_size: int | None = Field(default=None, ge=1)
    """Sequences behind one optimizer step, over all workers; kept when the worker count changes.
    Default: `per_device_train_batch_size * cluster.num_workers * gradient_accumulation_steps`."""
    gradient_accumulation_steps: int | None = Field(default=None, ge=1)
    """Forward passes behind one optimizer step. Default: what `global_batch_size` needs, else 1."""
    learning_rate: float = Field(default=2e-5, gt=0.0)
    """Peak learning rate."""
    head_learning_rate: float | None = Field(default=None, gt=0.0)
    """Peak learning rate of a fresh classification head. Default: `learning_rate`."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_ratio: float = Field(default=0.03, ge=0.0, lt=1.0)
    """Share of the steps over which the rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's decoupled decay; never applied to biases and norms."""
    adam_beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW's first-moment decay."""
    adam_beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """AdamW's second-moment decay."""
    adam_epsilon: float = Field(default=1e-8, gt=0.0)
    """AdamW's denominator floor."""
    max_grad_norm: float = Field(default=1.0, ge=0.0)
    """Clip the global gradient norm to this; 0 does not clip."""
    bf16: bool | Literal["auto"] = "auto"
    """Compute in bfloat16 with float32 master weights. `auto`: where the hardware has it."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    seed: int = Field(default=0, ge=0)
    """Seeds weights, dropout and row order."""
    logging_steps: int = Field(default=10, ge=1)
    """Steps between two rows of the metrics file."""
    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between two evaluations on the validation rows. Default: once an epoch."""
    save_steps: int | None = Field(default=None, ge=1)
    """Steps between two checkpoints. Default: at every evaluation, else once an epoch."""
    save_total_limit: int = Field(default=2, ge=1)
    """Checkpoints kept beside the best one."""
    metric_for_best_model: Literal["eval_loss", "eval_accuracy"] = "eval_loss"
    """What the best checkpoint is best at."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after so many evaluations without a better one."""

    @field_validator("deepspeed")
    @classmethod
    def deepspeed_is_known(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        resolve_deepspeed(value, num_workers=1)
        return value

    @model_validator(mode="after")
    def accuracy_is_for_classifiers(self) -> Self:
        if self.metric_for_best_model == "eval_accuracy" and self.objective.kind != "classification":
            raise ValueError(
                f"metric_for_best_model=eval_accuracy needs objective.kind=classification, found {self.objective.kind}; "
                "use eval_loss"
            )
        return self
