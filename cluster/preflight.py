"""Refuses what the machine or cluster cannot hold, before any work is done."""

import errno
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from cluster.config import ClusterConfig
from cluster.exceptions import ResourceError
from cluster.storage import Storage


def check_workers(cluster: ClusterConfig, cpus: float, gpus: float, autoscales: bool = False) -> None:
    """Refuse workers that could never start. A cluster that grows by itself is asked, not refused."""
    if autoscales:
        return
    has = f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs"
    on_gpus = cluster.use_gpu is True or (cluster.use_gpu == "auto" and gpus > 0)
    if on_gpus and cluster.num_workers > gpus:
        advice = f"set cluster.num_workers={int(gpus)}" if gpus else "set cluster.use_gpu=false"
        raise ResourceError(
            f"cluster.num_workers={cluster.num_workers} with one GPU each, but {has}; {advice} or add nodes"
        )
    needed = cluster.num_workers * cluster.cpus_per_worker
    if needed > cpus:
        raise ResourceError(
            f"cluster.num_workers={cluster.num_workers} * cluster.cpus_per_worker={cluster.cpus_per_worker:g} needs "
            f"{needed:g} CPUs, but {has}; {_worker_advice(cluster, cpus)}"
        )


def _worker_advice(cluster: ClusterConfig, cpus: float) -> str:
    fitting = int(cpus // cluster.cpus_per_worker)
    if fitting:
        return f"set cluster.num_workers={fitting}, lower cluster.cpus_per_worker, or add nodes"
    return f"set cluster.cpus_per_worker={cpus:g} or less, or add nodes"


def free_space_check(storage: Storage, need_bytes: int) -> None:
    """Refuse to start writing what will not fit. Object stores have no end, so only local folders are asked."""
    if not storage.is_local:
        return
    folder = Path(storage.url)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise ResourceError(f"{folder}: a file is in the way where a folder is needed; change cluster.storage_path")
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise ResourceError(
            f"{storage.url} has {_gib(free)} free and this run needs about {_gib(need_bytes)}; free some, lower "
            "train.save_total_limit, or set cluster.storage_path to a larger disk"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResourceError(f"{folder}: this user may not write there; set cluster.storage_path to a writable folder")


def check_port_free(host: str, port: int) -> None:
    """Refuse a port on which something already listens, and say what."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ResourceError(
                    f"{host}:{port} is taken{_listener(port)}; stop that, or choose another with serve.port={port + 1}"
                ) from error
            if error.errno == errno.EACCES:
                raise ResourceError(
                    f"port {port} needs root rights; choose one above 1023 with serve.port=8000"
                ) from error
            raise ResourceError(
                f"serve.host={host} is no address of this machine ({error.strerror}); use 127.0.0.1, or 0.0.0.0 for all"
            ) from error


def _listener(port: int) -> str:
    """` by NAME (process N)`, as far as the system tells this user."""
    import psutil

    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return " by another user's process"
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
