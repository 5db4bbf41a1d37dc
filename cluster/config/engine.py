"""`engine:` which language model answers requests: one run in this cluster, or one behind an endpoint."""

from typing import Annotated, Any, Literal

from pydantic import Field

from cluster.config.base import Config


class VllmEngine(Config):
    """A model run here, by vLLM inside `ray.data.llm`."""

    kind: Literal["vllm"] = "vllm"
    model: str = Field(min_length=1)
    """Folder or Hub id of a causal model with a chat template."""
    batch_size: int = Field(default=64, ge=1)
    """Prompts handed to the engine at a time."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest prompt and answer together, in tokens. Empty: as long as the model and its memory allow."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """On CPU: memory for the attention cache."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's engine, by their names there."""


class OpenAIEngine(Config):
    """A model behind an endpoint that speaks OpenAI's chat completions. What it answers need not be the same next time."""

    kind: Literal["openai"] = "openai"
    base_url: str = Field(min_length=1)
    """Where it answers, up to and with `/v1`."""
    model: str = Field(min_length=1)
    """Its name there."""
    api_key_env: str | None = None
    """Environment variable that holds the key. Empty: the endpoint asks for none."""
    concurrency: int = Field(default=8, ge=1)
    """Requests in flight."""
    timeout_s: float = Field(default=60.0, gt=0.0)
    """Longest wait for one answer."""
    retries: int = Field(default=5, ge=0)
    """Further attempts, with growing pauses, after a failed connection, a timeout, or status 408, 409, 429 or 5xx."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, such as `seed`."""


EngineConfig = Annotated[VllmEngine | OpenAIEngine, Field(discriminator="kind")]
