"""`evaluate.endpoint` how a model behind an endpoint is asked."""

from typing import Any

from pydantic import Field

from cluster.config.base import Config


class EndpointConfig(Config):
    """How an endpoint that speaks OpenAI's API is asked, when one is scored."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. One that is not set stands for an endpoint that asks for none."""
    concurrency: int = Field(default=8, ge=1)
    """Requests in flight."""
    timeout_s: float = Field(default=60.0, gt=0.0)
    """Longest wait for one answer."""
    retries: int = Field(default=5, ge=0)
    """Further attempts, with growing pauses, after a failed connection, a timeout, or status 408, 409, 429 or 5xx."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, such as `chat_template_kwargs`."""
