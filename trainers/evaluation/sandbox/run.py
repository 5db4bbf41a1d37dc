"""Starts a stranger's program and hears how it ended. What holds it is in `launch.py`."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cluster.exceptions import ResourceError

LAUNCH = Path(__file__).with_name("launch.py")
START_S = 30.0
"""How long the launcher may take beside the program's own time, on a machine with much to do."""
READ_BYTES = 1 << 16
KINDS = {"F": "finished", "E": "raised", "M": "raised", "X": "exited"}

Kind = Literal["finished", "raised", "exited", "killed", "timed_out"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        wall_s: time until it is killed with all that it started.
        cpu_s: time on a core, for each of its processes.
        memory_bytes: address space of each of its processes.
        processes: processes and threads at once. As root on a machine that allows no other user, none but threads.
        file_bytes: largest file.
        disk_bytes: all its files together; in memory, where the kernel allows namespaces.
        open_files: at once.
        output_bytes: how much of its output is kept, of either stream.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 512 << 20
    processes: int = 8
    file_bytes: int = 16 << 20
    disk_bytes: int = 64 << 20
    open_files: int = 64
    output_bytes: int = 64 << 10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        kind: `finished` (its last line was reached), `raised`, `exited` (by itself, before its last line), `killed` (a
            limit, a crash) or `timed_out`.
        exit_code: minus the signal's number where one ended it.
        reason: which limit it was, where one is known: `wall time`, `cpu time`, `memory`, `disk`.
        stdout: the beginning of what it printed.
        stderr: the same of its errors.
        duration_s: wall time.
        peak_bytes: most memory that its first process held.
        layers: what held it: `namespaces`, `own files`, `other user`, `landlock`, `seccomp`, `no new processes`.
    """

    kind: Kind
    exit_code: int
    reason: str
    stdout: str
    stderr: str
    duration_s: float
    peak_bytes: int
    layers: tuple[str, ...]

    @property
    def is_finished(self) -> bool:
        """Whether it ran to its end without an error."""
        return self.kind == "finished"


def run_python(
    program: str,
    *,
    stdin: str = "",
    limits: Limits | None = None,
    readable: Sequence[str] = (),
    namespaces: bool = True,
) -> Outcome:
    """Run Python code of a stranger in a process of its own: no network, an empty folder, nothing of our environment.

    It sees the interpreter, its packages and the system's libraries, and nothing else of the machine's files (without
    namespaces: it cannot open them).

    Args:
        program: source text.
        stdin: what it can read.
        readable: files and folders that it can read as well.
        namespaces: whether to use them where the kernel allows it; without, Landlock and seccomp hold the program.

    Raises:
        ResourceError: if the machine has nothing that would hold it.
    """
    limits = limits or Limits()
    folder = tempfile.mkdtemp(prefix="mobula-run-")
    job = dataclasses.asdict(limits) | {
        "program": program,
        "stdin": stdin,
        "readable": [os.path.abspath(path) for path in readable],
        "folder": folder,
        "namespaces": namespaces,
    }
    try:
        stdout, stderr, report = _talk(json.dumps(job).encode(), limits)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _outcome(json.loads(report) if report else {}, stdout, stderr, limits)


def _environment() -> dict[str, str]:
    """Nothing of ours but where libraries lie."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **single, **kept}


def _talk(job: bytes, limits: Limits) -> tuple[bytes, bytes, bytes]:
    """Hand the job over; the beginning of either stream, and the report."""
    heard, said = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", str(LAUNCH), str(said)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        cwd="/",
        pass_fds=(said,),
        start_new_session=True,
    )
    os.close(said)
    try:
        assert process.stdin is not None
        _give(process.stdin, job)
        found = _listen(process, heard, limits)
    finally:
        os.close(heard)
        _end(process)
    return found


def _give(pipe: Any, job: bytes) -> None:
    try:
        pipe.write(job)
        pipe.close()
    except BrokenPipeError:  # it ended early; what it reported says why
        return


def _listen(process: subprocess.Popen[bytes], heard: int, limits: Limits) -> tuple[bytes, bytes, bytes]:
    """Read until the launcher is gone; what is over the limit is read and thrown away, so that nobody waits for us."""
    assert process.stdout is not None and process.stderr is not None
    streams = {process.stdout.fileno(): b"", process.stderr.fileno(): b"", heard: b""}
    deadline = time.monotonic() + limits.wall_s + START_S
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            os.set_blocking(stream, False)
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            is_over = process.poll() is not None
            ready = selector.select(0.0 if is_over else 0.05)
            for key, _ in ready:
                chunk = _read(key.fd)
                if chunk == b"":
                    selector.unregister(key.fd)
                elif chunk and len(streams[key.fd]) < limits.output_bytes:
                    streams[key.fd] += chunk[: limits.output_bytes - len(streams[key.fd])]
            if is_over and not ready:
                break
    stdout, stderr, report = streams.values()
    return stdout, stderr, report


def _read(stream: int) -> bytes | None:
    try:
        return os.read(stream, READ_BYTES)
    except BlockingIOError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing is left of it, whatever happened; the keeper dies with the launcher, and the rest with the keeper."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _outcome(report: dict[str, Any], stdout: bytes, stderr: bytes, limits: Limits) -> Outcome:
    if not report or report["word"] == "U":
        said = report.get("reason") or stderr.decode(errors="replace").strip()[-500:] or "it gave no report"
        raise ResourceError(f"generated code cannot be run here: {said}")
    reason, code = report["reason"], report["exit"]
    kind: Kind = KINDS.get(report["word"], "exited")  # type: ignore[assignment]
    if reason == "wall time":
        kind = "timed_out"
    elif code < 0 or reason or (kind == "finished" and code):
        kind = "killed"
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and not reason and report["cpu_s"] >= limits.cpu_s):
        reason = "cpu time"
    if report["word"] == "M":
        reason = "memory"
    return Outcome(
        kind=kind,
        exit_code=code,
        reason=reason,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
        duration_s=report["duration_s"],
        peak_bytes=report["peak_bytes"],
        layers=tuple(report["layers"]),
    )
