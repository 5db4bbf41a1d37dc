"""One Ray for the whole run of tests, and the places of data that only some machines have."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before ray, torch or transformers are imported by any test module.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for elsewhere in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):  # tests keep to themselves
    os.environ.pop(elsewhere, None)

LOGICAL_CPUS = 4
SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A connected local Ray with four logical CPUs, stopped at the end."""
    import ray

    from cluster import session

    with session.local_ray(num_cpus=LOGICAL_CPUS):
        yield
    assert not ray.is_initialized()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data sets in {SHARED_DATA}, which this machine does not have")
    return SHARED_DATA
