"""`mobula serve` as a process: it answers, and Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import threading

import openai
import psutil
import pytest

from cluster.cli.serve import things_to_try
from cluster.preflight import check_port_free
from tests.serving.conftest import free_port
from tests.serving.tiny_models import LABELS, TEXTS


def test_it_announces_itself_in_json_answers_and_leaves_nothing_behind_on_ctrl_c(classifier_folder, tmp_path):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "cluster.cli",
        "serve",
        str(classifier_folder.path),
        f"serve.port={port}",
        "--json",
    ]
    errors = (tmp_path / "stderr").open("w+")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "RAY_TMPDIR": "/tmp/mobula-sv"},
        start_new_session=True,
    )
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    try:
        document = ""
        while not document.endswith("}\n"):
            line = process.stdout.readline()
            assert line, errors.seek(0) or errors.read()
            document += line
        said = json.loads(document)
        assert (said["model"], said["kind"], said["probes"]) == ("desk", "classification", 9)
        client = openai.OpenAI(base_url=said["api_url"], api_key="none", max_retries=0)
        answer = client.post("/classify", body={"input": TEXTS[0]}, cast_to=object)
        assert answer["data"][0]["label"] in LABELS
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        assert process.wait(120) == 0
        assert process.stdout.read() == ""
        assert psutil.wait_procs(children, timeout=10)[1] == []
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    check_port_free("127.0.0.1", port)


@pytest.mark.parametrize(("kind", "route"), [("causal_lm", "chat/completions"), ("classification", "classify")])
def test_what_it_suggests_can_be_pasted(kind, route):
    lines = things_to_try("http://127.0.0.1:8000/v1", "desk", kind).splitlines()
    assert lines[2].startswith(f"  curl http://127.0.0.1:8000/v1/{route}")
    body = lines[2].split("-d ")[1]
    assert json.loads(body.strip("'"))
    code = lines[3].removeprefix("  python -c ").strip("'")
    compile(code, "suggestion", "exec")
