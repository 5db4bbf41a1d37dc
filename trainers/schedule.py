"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math


def warmup_steps(total_steps: int, warmup_ratio: float) -> int:
    """Steps over which the rate rises, rounded up as transformers does."""
    return math.ceil(total_steps * warmup_ratio)


def learning_rate_factor(step: int, total_steps: int, warmup_ratio: float, kind: str) -> float:
    """Factor on the peak rate at optimizer step `step` (0-based), equal to transformers' schedules of that name."""
    rise = warmup_steps(total_steps, warmup_ratio)
    if step < rise:
        return step / max(1, rise)
    if kind == "constant":
        return 1.0
    progress = (step - rise) / max(1, total_steps - rise)
    if kind == "linear":
        return max(0.0, 1.0 - progress)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
