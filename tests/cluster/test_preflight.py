"""What the machine or cluster cannot hold is refused with what it has and the keys to change."""

import socket

import pytest

from cluster.config import ClusterConfig
from cluster.exceptions import ResourceError
from cluster.preflight import check_port_free, check_workers, free_space_check
from cluster.storage import Storage


def test_workers_that_fit_are_let_through():
    check_workers(ClusterConfig(num_workers=4), cpus=4, gpus=0)
    check_workers(ClusterConfig(num_workers=2, use_gpu=True), cpus=8, gpus=2)


@pytest.mark.parametrize(
    ("asked", "gpus", "sentence"),
    [
        ({"num_workers": 5}, 0, r"needs 5 CPUs, but the cluster has 4 CPUs and 0 GPUs; set cluster.num_workers=4"),
        ({"cpus_per_worker": 8}, 0, r"set cluster.cpus_per_worker=4 or less"),
        ({"num_workers": 2}, 1, r"one GPU each, but the cluster has 4 CPUs and 1 GPUs; set cluster.num_workers=1"),
        ({"use_gpu": True}, 0, r"set cluster.use_gpu=false"),
    ],
)
def test_workers_that_do_not_fit_are_refused(asked, gpus, sentence):
    with pytest.raises(ResourceError, match=sentence):
        check_workers(ClusterConfig(**asked), cpus=4, gpus=gpus)


def test_a_cluster_that_grows_is_asked_and_not_refused():
    check_workers(ClusterConfig(num_workers=500), cpus=1, gpus=0, autoscales=True)


def test_too_little_disk_is_refused_before_anything_is_written(tmp_path):
    storage = Storage.open(tmp_path / "not" / "there" / "yet")
    free_space_check(storage, need_bytes=1)
    with pytest.raises(ResourceError, match=r"free and this run needs about 1048576.0 GiB; free some"):
        free_space_check(storage, need_bytes=1 << 50)


def test_a_taken_port_is_named_with_its_process():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ResourceError, match=rf"127.0.0.1:{port} is taken by .*process.*serve.port={port + 1}"):
            check_port_free("127.0.0.1", port)
    check_port_free("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ResourceError, match=r"serve.host=192.0.2.1 is no address of this machine"):
        check_port_free("192.0.2.1", 8000)
