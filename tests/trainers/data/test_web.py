"""Addresses: read as a stream, given up in one sentence where nothing comes."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.config import DataConfig
from cluster.exceptions import DataError
from trainers.data.sources import examples, locate

ROWS = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(100)).encode()
TIMEOUT_S = 0.5
Behaviour = Callable[[socket.socket, str], None]


@pytest.fixture
def served() -> Iterator[Callable[[Behaviour], str]]:
    """Starts a server that answers each connection as told, and gives its address."""
    servers = []

    def served(behave: Behaviour) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=accept, args=(server, behave), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    def accept(server: socket.socket, behave: Behaviour) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection, behave), daemon=True).start()

    def answer(connection: socket.socket, behave: Behaviour) -> None:
        with connection:
            behave(connection, connection.recv(1 << 16).decode())

    yield served
    for server in servers:
        server.close()


def respond(status: str, body: bytes = b"", promised: int | None = None, more: str = "") -> Behaviour:
    length = len(body) if promised is None else promised

    def behave(connection: socket.socket, request: str) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
        connection.sendall(head.encode() + (b"" if request.startswith("HEAD") else body))

    return behave


def silent(connection: socket.socket, request: str) -> None:
    time.sleep(10)


def halfway(connection: socket.socket, request: str) -> None:
    respond("200 OK", ROWS[:500], promised=len(ROWS))(connection, request)
    if not request.startswith("HEAD"):
        time.sleep(10)


def read(url: str) -> list[str]:
    config = DataConfig(train="unused", timeout_s=TIMEOUT_S)
    return [example.text for example in examples(url, config, "train")]


@pytest.mark.parametrize("behave", [silent, halfway])
def test_a_source_that_stalls_is_given_up_after_the_stated_time(served, behave):
    started = time.monotonic()
    with pytest.raises(DataError, match=r"a.jsonl: nothing came for data.timeout_s=0.5 seconds; try again, raise"):
        read(served(behave) + "/a.jsonl")
    assert time.monotonic() - started < 8 * TIMEOUT_S


@pytest.mark.parametrize(
    ("behave", "sentence"),
    [
        (respond("404 Not Found"), "the server answers 404 Not Found; check the address"),
        (respond("403 Forbidden"), "the server answers 403 Forbidden; check the address and the rights"),
        (respond("200 OK", b""), "the file is empty; expected rows"),
        (respond("200 OK", ROWS[:500], promised=len(ROWS)), "a.jsonl: cannot be read .*cut short"),
    ],
)
def test_a_server_that_has_no_rows_is_one_sentence(served, behave, sentence):
    with pytest.raises(DataError, match=sentence):
        read(served(behave) + "/a.jsonl")


def test_a_server_that_is_not_there_is_one_sentence():
    with pytest.raises(DataError, match=r"a.jsonl: the server cannot be reached .*check the address and the network"):
        read("http://127.0.0.1:9/a.jsonl")


def test_an_address_may_have_a_query_and_a_compressed_file(served):
    url = served(respond("200 OK", gzip.compress(ROWS)))
    assert len(read(f"{url}/a.jsonl.gz?download=true")) == 100


def test_a_new_version_on_the_server_is_noticed(served):
    stamps = [
        locate(served(respond("200 OK", ROWS, more=f'ETag: "{tag}"\r\n')) + "/a.jsonl").files[0].stamp for tag in "aab"
    ]
    assert stamps[0] == stamps[1] != stamps[2]
