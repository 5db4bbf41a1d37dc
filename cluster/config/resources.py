"""`cluster:` where it runs."""

from typing import Literal

from pydantic import Field

from cluster.config.base import Config


class ClusterConfig(Config):
    address: str | None = None
    """Ray cluster to join (`auto`, `host:6379`). Default: the cluster around the process, else one on this machine."""
    num_workers: int = Field(default=1, ge=1)
    """Training workers (one process and one GPU each, where there are GPUs)."""
    use_gpu: bool | Literal["auto"] = "auto"
    """Give each worker a GPU. `auto`: if the cluster has any."""
    cpus_per_worker: float = Field(default=1.0, gt=0.0)
    """Logical CPUs that one worker reserves."""
    storage_path: str = "runs"
    """Where run directories, prepared data and the registry lie: a folder that all nodes see, or a URL (`s3://`, `gs://`)."""
    max_failures: int = Field(default=0, ge=0)
    """Worker failures survived inside one run by going back to the last checkpoint."""
