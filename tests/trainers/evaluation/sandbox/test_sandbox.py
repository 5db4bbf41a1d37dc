"""Claims about code of strangers: whatever it does stays inside, and nothing of it is left.

Each holds with namespaces and without (Landlock, seccomp). They do to the machine what a model's code might do.
"""

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from cluster.exceptions import ResourceError
from trainers.evaluation.sandbox import Limits, Outcome, run_python
from trainers.evaluation.sandbox import run as sandbox

SHORT = Limits(wall_s=1.5, cpu_s=3)


@pytest.fixture(params=["namespaces", "landlock"])
def inside(request):
    """Runs a program both ways; skipped where the kernel does not allow one of them."""

    def run(program: str, **given) -> Outcome:
        found = run_python(program, namespaces=request.param == "namespaces", **given)
        if request.param not in found.layers:
            pytest.skip(f"this kernel allows no {request.param}")
        return found

    return run


def processes_with(mark: str) -> list[str]:
    """Command lines or environments of processes that carry a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == mark:
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_program_prints_reads_and_ends(inside):
    found = inside("import sys\nprint(sys.stdin.read().upper())\nprint('oh', file=sys.stderr)", stdin="hi")
    assert (found.kind, found.exit_code, found.stdout, found.stderr) == ("finished", 0, "HI\n", "oh\n")
    assert found.is_finished and found.duration_s < 5 and found.peak_bytes > 0


def test_packages_can_be_imported(inside):
    assert inside("import numpy, json, re\nassert numpy.ones(3).sum() == 3").is_finished


@pytest.mark.parametrize(
    ("program", "kind", "code"),
    [
        ("assert 1 == 2", "raised", 1),
        ("def broken(", "raised", 1),
        ("import sys; sys.exit(0)", "exited", 0),
        ("import os; os._exit(0)", "exited", 0),
        ("import os, signal; signal.raise_signal(signal.SIGSEGV)", "killed", -11),
        ("import ctypes; ctypes.string_at(0)", "killed", -11),
    ],
)
def test_only_a_program_that_reaches_its_end_has_finished(inside, program, kind, code):
    found = inside(program)
    if "raise_signal" in program and "namespaces" not in found.layers:
        pytest.skip("signals are forbidden altogether")
    assert (found.kind, found.exit_code) == (kind, code)


def test_an_error_shows_the_programs_own_lines_only(inside):
    found = inside("\n\nraise ValueError('of mine')")
    assert 'File "program.py", line 3' in found.stderr and "of mine" in found.stderr
    assert "launch.py" not in found.stderr


def test_an_endless_loop_is_ended_by_the_wall_clock(inside):
    for program in ("while True: pass", "import time\nwhile True: time.sleep(1)"):
        started = time.monotonic()
        found = inside(program, limits=SHORT)
        assert (found.kind, found.reason) == ("timed_out", "wall time")
        assert time.monotonic() - started < 10


def test_an_endless_loop_is_ended_by_its_time_on_a_core(inside):
    found = inside("while True: pass", limits=Limits(wall_s=20, cpu_s=1))
    assert (found.kind, found.reason) == ("killed", "cpu time")


def test_a_program_that_ignores_signals_ends_all_the_same(inside):
    program = "import signal\nfor n in (2, 15, 24):\n    signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    assert inside(program, limits=SHORT).kind == "timed_out"


def test_memory_cannot_be_filled(inside):
    found = inside("held = []\nwhile True: held.append(bytearray(8 << 20))", limits=Limits(memory_bytes=256 << 20))
    assert (found.kind, found.reason) == ("raised", "memory")
    assert found.peak_bytes < 300 << 20


def test_a_fork_bomb_is_held_and_ended(inside):
    before = len(os.listdir("/proc"))
    most = before
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, len(os.listdir("/proc")))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    program = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    found = inside(program, limits=SHORT)
    done.set()
    watcher.join()
    assert found.kind == "timed_out"
    assert most - before < 200, "no more processes than allowed, beside those that others start meanwhile"


def test_threads_are_limited_too(inside):
    program = (
        "import threading, time\nstarted = 0\ntry:\n    for _ in range(1000):\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n        started += 1\n"
        "except (RuntimeError, MemoryError): pass\nprint(started)"
    )
    assert int(inside(program).stdout) < 200


def test_a_huge_file_is_not_written(inside):
    program = "import sys\nwith open('big', 'wb') as file:\n    for _ in range(1000): file.write(b'x' * (1 << 20))"
    found = inside(program)
    assert found.kind in ("raised", "killed")
    assert not found.is_finished


def test_many_files_do_not_fill_the_disk(inside):
    program = (
        "import time\nfor n in range(200):\n    with open(f'f{n}', 'wb') as file: file.write(b'x' * (8 << 20))\n"
        "    time.sleep(0.02)"
    )
    found = inside(program, limits=Limits(disk_bytes=32 << 20))
    assert not found.is_finished
    assert found.reason == "disk" or "No space left" in found.stderr


def test_output_is_cut_and_nobody_waits_for_it(inside):
    found = inside("import sys\nfor _ in range(5000): print('x' * 10_000)\nsys.stderr.write('y' * 500_000)")
    assert found.is_finished
    assert (len(found.stdout), len(found.stderr)) == (64 << 10, 64 << 10)


def test_nothing_of_our_environment_is_there(inside, monkeypatch):
    monkeypatch.setenv("MOBULA_TEST_TOKEN", "s3cret-value")
    assert inside("import os\nprint(dict(os.environ))").stdout.find("s3cret") < 0


def test_the_environment_of_other_processes_cannot_be_read(inside):
    secret = uuid.uuid4().hex
    keeper = subprocess.Popen(["sleep", "30"], env={"TOKEN": secret})
    program = f"""
import os
for pid in (os.getppid(), {os.getpid()}, {keeper.pid}, 1, "self"):
    for name in ("environ", "cmdline", "mem", "maps"):
        try:
            with open(f"/proc/{{pid}}/{{name}}", "rb") as file:
                print(pid, name, file.read(100_000))
        except (OSError, ValueError) as error:
            print(pid, name, error)
"""
    try:
        found = inside(program)
    finally:
        keeper.kill()
        keeper.wait()
    assert found.is_finished
    assert secret not in found.stdout
    for name in ("HOME=/root", "PYTEST_CURRENT_TEST"):
        assert name not in found.stdout


def test_neither_the_parent_nor_anybody_else_can_be_killed(inside):
    other = subprocess.Popen(["sleep", "30"])
    program = f"""
import os, signal
for pid in (os.getppid(), {os.getpid()}, {other.pid}):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try: os.kill(pid, number)
        except OSError as error: print(error)
try: os.killpg({os.getpgrp()}, signal.SIGKILL)
except OSError as error: print(error)
"""
    found = inside(program)
    assert other.poll() is None
    other.kill()
    other.wait()
    assert found.kind in ("finished", "killed")


def test_children_do_not_outlive_the_program(inside):
    mark = f"m{uuid.uuid4().hex[:10]}"
    program = f"""
import ctypes, os, time
def child():
    os.setsid()
    if os.fork(): os._exit(0)
    ctypes.CDLL(None).prctl(15, b"{mark}", 0, 0, 0)
    for stream in (0, 1, 2): os.close(stream)
    time.sleep(60)
try:
    if os.fork() == 0: child()
    time.sleep(0.3)
except OSError: pass
"""
    found = inside(program)
    assert found.is_finished
    assert found.duration_s < 5
    assert not processes_with(mark)


def test_there_is_no_network(inside):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
import socket
for family, place in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET, ("1.1.1.1", 53))):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(2)
        one.connect(place)
"""
        found = inside(program)
    assert found.kind == "raised"
    assert any(said in found.stderr for said in ("unreachable", "not permitted", "Permission", "refused"))


def test_sockets_of_the_machines_daemons_cannot_be_reached(inside, tmp_path):
    import socket

    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        place.chmod(0o777)
        found = inside(f"import socket\nsocket.socket(socket.AF_UNIX).connect({str(place)!r})")
    assert found.kind == "raised"


def test_files_of_the_machine_are_neither_read_nor_changed(inside, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("private")
    mine.chmod(0o666)
    program = f"""
import os, pathlib, shutil
for path in ({str(mine)!r}, "/etc/shadow", "/root/.bashrc"):
    for mode in ("r", "w"):
        try: print(open(path, mode).read())
        except OSError: pass
shutil.rmtree({str(tmp_path)!r}, ignore_errors=True)
for place in ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), "/usr", {sys.prefix!r}):
    try: pathlib.Path(place, "left-by-mobula-test").write_text("x")
    except OSError: pass
"""
    found = inside(program)
    assert found.is_finished
    assert "private" not in found.stdout and "root:" not in found.stdout
    assert mine.read_text() == "private"
    for place in ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()), "/usr", sys.prefix):
        assert not Path(place, "left-by-mobula-test").exists()


def test_files_that_are_named_can_be_read_and_not_changed(inside, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("for all")
    for folder in (tmp_path, *tmp_path.parents):  # pytest keeps its folders to itself
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    program = f"print(open({str(given)!r}).read())\ntry: open({str(given)!r}, 'w')\nexcept OSError: print('no')"
    assert inside(program, readable=[str(given)]).stdout == "for all\nno\n"


def test_rights_cannot_be_had_back(inside):
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, args in (("setuid", (0,)), ("mount", (b"none", b"/", b"tmpfs", 0, None)), ("ptrace", (16, os.getppid(), 0, 0))):
    print(name, getattr(libc, name)(*args))
print(open("/proc/self/status").read().split("CapEff:")[1].split()[0] if os.path.exists("/proc/self/status") else "")
"""
    said = inside(program).stdout.split("\n")
    assert said[1:3] == ["mount -1", "ptrace -1"]
    assert not said[3].strip("0")


def test_nothing_is_left_on_the_disk(inside, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    for path in (tmp_path, *tmp_path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    inside("import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nos.chmod('a', 0)")
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_holds_nothing_runs_nothing(monkeypatch, tmp_path):
    """A kernel without namespaces and Landlock, stood in for by a launcher whose calls fail."""
    for name in ("launch.py", "kernel.py"):
        text = (sandbox.LAUNCH.parent / name).read_text()
        (tmp_path / name).write_text(text.replace("def syscall(number: int, *args: Any) -> int:", _NOT_THERE))
    monkeypatch.setattr(sandbox, "LAUNCH", tmp_path / "launch.py")
    with pytest.raises(ResourceError, match="neither namespaces nor Landlock"):
        run_python("print(1)", namespaces=False)


_NOT_THERE = """\
def syscall(number: int, *args: Any) -> int:
    raise OSError(38, "Function not implemented")


def _before(number: int, *args: Any) -> int:"""
