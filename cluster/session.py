"""Connects to Ray: joins the cluster that the config or the environment names, else starts one here.

What we start is ours alone and goes when the block ends, also on errors and Ctrl-C. Its files lie in a private folder
(mode 0700) with a short path, because Unix socket paths end at 107 bytes.

Ray's own defaults are uneven about authentication: a bare `ray.init()` turns tokens on and writes
`~/.ray/auth_token` world-readable, and later drivers that name an address then fail after 60 s. So the
mode is always set explicitly here, with a token file of our own (0600).
"""

import functools
import logging
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster.config import ClusterConfig
from cluster.exceptions import ResourceError

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages; the Ray working_dir."""

_LONGEST_TEMP_DIR = 107 - len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
_JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by `ray job submit` for the driver it starts
_STOP_TIMEOUT_S = 10.0
_KNOCK_TIMEOUT_S = 10.0
_START_ATTEMPTS = 3


def private_folder() -> Path:
    """A folder of this user alone, with a path short enough for sockets."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    folder = Path(base, f"mobula-{os.getuid()}")
    if len(str(folder)) > _LONGEST_TEMP_DIR:
        folder = Path("/tmp", f"mobula-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ResourceError(f"{folder} belongs to another user; remove it, or set RAY_TMPDIR to a folder of your own")
    folder.chmod(0o700)
    return folder


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU; asked without importing torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


@contextmanager
def ray_session(cluster: ClusterConfig, *, working_dir: str | Path | None = None) -> Iterator[None]:
    """Be connected to Ray inside the block: join what is there, else start a local cluster and stop it afterwards."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    if not address or address == "local":
        with local_ray():
            yield
        return
    with _variables(_driver_variables(joins=True)), _joined(address, working_dir):
        yield


def resources() -> tuple[float, float]:
    """(CPUs, GPUs) of the connected cluster, as Ray counts them."""
    import ray

    total = ray.cluster_resources()
    return float(total.get("CPU", 0.0)), float(total.get("GPU", 0.0))


def check_workers_fit(cluster: ClusterConfig) -> None:
    """Refuse more workers than the connected cluster has; see cluster.preflight."""
    from cluster.preflight import check_workers

    cpus, gpus = resources()
    check_workers(cluster, cpus, gpus, autoscales=_autoscales())


def _autoscales() -> bool:
    """Whether nodes may still join by themselves: an autoscaler has told the cluster which ones it could add."""
    import ray

    config = ray._private.state.state.get_cluster_config()
    return bool(config and config.node_group_configs)


# -- environment ----------------------------------------------------------------------------------


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set yet, and take them back afterwards."""
    fresh = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(fresh)
    try:
        yield
    finally:
        for name in fresh:
            os.environ.pop(name, None)


def _driver_variables(joins: bool) -> dict[str, str]:
    values = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not joins:
        caches = private_folder() / "cache"
        values |= {"TORCH_EXTENSIONS_DIR": str(caches / "torch_extensions"), "TRITON_CACHE_DIR": str(caches / "triton")}
        if not has_gpu():
            values["DS_ACCELERATOR"] = "cpu"
    return values


def _worker_variables() -> dict[str, str]:
    """What processes that Ray starts need beside the driver's variables."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    return {"OMP_NUM_THREADS": threads, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def _token_file() -> str:
    """Our token for local clusters: made once, readable by this user only."""
    path = private_folder() / "ray-token"
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    path.chmod(0o600)
    return str(path)


def _authentication_for_new() -> dict[str, str]:
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return {"RAY_AUTH_MODE": "token"}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": _token_file()}


def _authentication_for_joining() -> dict[str, str]:
    """Ray never sends a token to a named address unless the mode says so, even when it has one."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    has_token = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return {"RAY_AUTH_MODE": "token"} if has_token or Path.home().joinpath(".ray", "auth_token").exists() else {}


def _reread_ray_settings() -> None:
    """Ray caches mode and token when it is imported; make it see the variables as they are now."""
    from ray import _raylet as native

    native.Config.initialize("")  # type: ignore[attr-defined]
    native.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


def _keep_stdout_ours() -> None:
    """Send what Ray's daemons want said to stderr. Ray 2.60 prints it to stdout even without `log_to_driver`, at any
    moment, so also into the JSON that a command answers with."""
    from ray._private import worker

    if not hasattr(worker.print_to_stdstream, "__wrapped__"):

        @functools.wraps(worker.print_to_stdstream)
        def to_stderr(data: dict[str, Any], ignore_prefix: bool) -> None:
            original(data | {"is_err": True}, ignore_prefix)

        original, worker.print_to_stdstream = worker.print_to_stdstream, to_stderr


# -- joining --------------------------------------------------------------------------------------


@contextmanager
def _joined(address: str, working_dir: str | Path | None) -> Iterator[None]:
    import ray

    with _variables(_authentication_for_joining()):
        _reread_ray_settings()
        logger.info("joining the Ray cluster at %s", address)
        _keep_stdout_ours()
        _refuse_if_silent(address)
        try:
            ray.init(
                address=address,
                runtime_env=_runtime_env(working_dir),
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            raise _nobody_at(address, error) from error
        try:
            yield
        finally:
            ray.shutdown()


def _refuse_if_silent(address: str) -> None:
    """Knock before `ray.init`, which would wait for many minutes for a port where nobody is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():  # `auto`: Ray looks for a cluster on this machine and says at once if there is none
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_TIMEOUT_S).close()
    except OSError as error:
        raise _nobody_at(address, error) from error


def _nobody_at(address: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"no Ray cluster answered at {address} ({(str(error).splitlines() or ['no answer'])[0]}); start one there, or "
        "change cluster.address (leave it out, and RAY_ADDRESS unset, to run on this machine)"
    )


def _runtime_env(working_dir: str | Path | None) -> dict[str, Any]:
    """What workers on other machines need: our variables and, outside a submitted job, our code."""
    import json

    raw = os.environ.get(_JOB_CONFIG_VARIABLE)
    job = (json.loads(raw).get("runtime_env") or {}) if raw else {}
    ours = {name: os.environ[name] for name in _driver_variables(joins=True)} | _worker_variables()
    taken = job.get("env_vars") or {}  # Ray refuses to merge two settings of one variable
    environment: dict[str, Any] = {"env_vars": {name: value for name, value in ours.items() if name not in taken}}
    if raw is None:
        environment["working_dir"] = str(working_dir or PROJECT_ROOT)
        environment["excludes"] = [".git", ".venv", "runs", "mobula-quickstart", "benchmark-results", "*.safetensors"]
    return environment


# -- starting -------------------------------------------------------------------------------------


@contextmanager
def local_ray(num_cpus: int | None = None) -> Iterator[None]:
    """A Ray cluster on this machine for the length of the block. Default: as many logical CPUs as there are."""
    folder = private_folder() / "ray"
    with _variables(_driver_variables(joins=False)), _variables(_authentication_for_new()):
        _reread_ray_settings()
        finished = False
        session_folder = None
        try:
            with _spawn_variables():
                _start(num_cpus or os.cpu_count() or 1, folder)
            session_folder = folder / _node().session_name
            yield
            finished = True
        finally:
            _stop(_cluster_processes())
            if finished and session_folder:  # after a failure its logs are worth reading
                shutil.rmtree(session_folder, ignore_errors=True)


def _start(num_cpus: int, folder: Path) -> None:
    """Start Ray, again if the machine is so busy that Ray gave up: it waits 30 s for its own node, unchangeably (2.60)."""
    import psutil
    import ray

    _keep_stdout_ours()
    before = set(psutil.Process().children(recursive=True))
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                object_store_memory=_object_store_bytes(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
            )
            return
        except Exception as error:  # Ray raises the bare class here
            _stop([one for one in psutil.Process().children(recursive=True) if one not in before])
            if "timed out during startup" not in str(error) or attempt == _START_ATTEMPTS:
                raise
            logger.warning("Ray was slow to start on this busy machine; trying again")


@contextmanager
def _spawn_variables() -> Iterator[None]:
    """Variables that only the processes started now shall see; ours keeps its threads and its path."""
    tools = str(Path(sys.executable).parent)  # DeepSpeed builds its collectives with the environment's own ninja
    search = os.pathsep.join(part for part in (str(PROJECT_ROOT), os.environ.get("PYTHONPATH")) if part)
    before = {name: os.environ.get(name) for name in ("PATH", "PYTHONPATH")}
    os.environ["PATH"] = os.pathsep.join(part for part in (tools, before["PATH"]) if part)
    os.environ["PYTHONPATH"] = search
    try:
        with _variables(_worker_variables()):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _object_store_bytes() -> int:
    """A tenth of the memory, between 256 MiB and 2 GiB: the pipelines stream, so more would lie idle."""
    import psutil

    return int(min(max(psutil.virtual_memory().total // 10, 256 << 20), 2 << 30))


def _stop(ours: list[Any]) -> None:
    """Stop the local cluster and see to it that each of its processes has gone."""
    import psutil
    import ray

    try:
        ray.shutdown(wait_for_processes=True)
    finally:
        _, alive = psutil.wait_procs(ours, timeout=_STOP_TIMEOUT_S)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_TIMEOUT_S)


def _node() -> Any:
    """Ray's record of the node that this process started; private in Ray, which tells of its processes nowhere else."""
    from ray._private import worker

    return worker._global_node


def _cluster_processes() -> list[Any]:
    """Every process of the cluster that this process started, workers included."""
    import psutil

    node = _node()
    found = []
    for infos in node.all_processes.values() if node else []:
        for info in infos:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(info.process.pid)
                found += [process, *process.children(recursive=True)]
    return found
