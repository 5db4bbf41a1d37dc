"""Object storage, held against moto's server."""

import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from cluster.config import DataConfig
from cluster.exceptions import DataError
from trainers.data import sources
from trainers.data.sources import examples, locate

ROWS = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(100)).encode()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of a local server, as pyarrow sees it."""
    command = Path(sys.executable).parent / "moto_server"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([str(command), "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    settings = {"ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    for name, value in {
        **settings,
        "ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    system = fs.S3FileSystem(endpoint_override=f"http://127.0.0.1:{port}", allow_bucket_creation=True)
    system.create_dir("rows")
    try:
        yield system
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
    pytest.fail("moto_server does not answer")


def write(system: Any, path: str, content: bytes) -> None:
    with system.open_output_stream(path, compression=None) as stream:
        stream.write(content)


def test_rows_in_object_storage_are_read_by_name_folder_glob_and_range(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bucket, "rows/set/a.jsonl", ROWS)
    write(bucket, "rows/set/b.jsonl.gz", gzip.compress(ROWS))
    config = DataConfig(train="unused")
    for spec, count in {"a.jsonl": 100, "b.jsonl.gz": 100, "": 200, "*.jsonl": 100}.items():
        assert len(list(examples(f"s3://rows/set/{spec}".rstrip("/"), config, "train"))) == count
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    found = locate("s3://rows/set/a.jsonl")
    places = [found.where(file, position) for plan in found.plans for file, position, _ in plan.rows()]
    assert len(found.plans) > 3 and places == [f"s3://rows/set/a.jsonl:{line}" for line in range(1, 101)]
    stamp = found.files[0].stamp
    write(bucket, "rows/set/a.jsonl", ROWS[:-1])
    assert locate("s3://rows/set/a.jsonl").files[0].stamp != stamp


@pytest.mark.parametrize("address", ["s3://rows/none.jsonl", "s3://nowhere/a.jsonl", "s3://rows/none/*.jsonl"])
def test_what_is_not_there_is_one_sentence(bucket: Any, address: str) -> None:
    with pytest.raises(DataError, match=r"there is no such file or folder|cannot be read|found no data files"):
        locate(address)
