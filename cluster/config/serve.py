"""`serve:` how the trained model is served."""

from typing import Any

from pydantic import Field

from cluster.config.base import Config


class ServeConfig(Config):
    host: str = "127.0.0.1"
    """Address to listen on. Anything but the loopback address opens the endpoint to others."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port to listen on."""
    model_name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    """Name that clients ask for. Default: the run's name, or the folder's."""
    num_replicas: int = Field(default=1, ge=1)
    """Copies of the model."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest prompt plus answer, in tokens. Default: the model's own limit, or less if the cache cannot hold that."""
    max_num_seqs: int = Field(default=32, ge=1)
    """Requests that one replica works on at once."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """Memory for the attention cache of one replica on CPU, in GiB. On GPUs vLLM takes what is free."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the vLLM engine, passed on as they are."""
    max_batch_size: int = Field(default=32, ge=1)
    """Texts that a classifier scores at once."""
    batch_wait_timeout_s: float = Field(default=0.005, ge=0.0)
    """How long a classifier waits to fill a batch, in seconds."""
    request_timeout_s: float = Field(default=300.0, gt=0.0)
    """Longest time for one answer, its stream included, in seconds; after it the client gets an error with status 504."""
    startup_timeout_s: float = Field(default=600.0, gt=0.0)
    """How long a deployment may take until it answers, in seconds."""
