"""Runs one program of a stranger. Started by `run.py` as a script of its own, so it imports the standard library only.

Three processes, of which each can end the next:

    launcher          what `run.py` started; makes the namespaces
      keeper          the first process of the new process namespace: when it ends, the kernel kills all others in it
        program       limits, another user, no rights, then the stranger's code

What holds the program depends on what the kernel allows, and the report says which it was. Namespaces (as root, or as any
user where user namespaces are allowed): a network, processes and files of its own. Else: Landlock for files, seccomp for
sockets and signals, and the keeper kills what is left over. Where neither keeps files and other processes' memory apart,
nothing is run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import resource
import select
import signal
import sys
import time
import traceback
import types
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kernel

del sys.path[0]

FIRST_USER, NUM_USERS = 61184, 4336
"""Users that nobody is: the range that systemd hands out for a while."""
POLL_S = 0.1


class Unavailable(Exception):
    """The kernel does not allow what would hold the program."""


@dataclasses.dataclass
class Hold:
    """What holds the program.

    Attributes:
        spaces: it has processes and a network of its own.
        files: it has a file tree of its own.
        user: whom it runs as, where that is not us.
    """

    spaces: bool
    files: bool = False
    user: int | None = None

    @property
    def layers(self) -> list[str]:
        names = {"namespaces": self.spaces, "own files": self.files, "other user": self.user is not None}
        return [name for name, is_there in names.items() if is_there]


def launch(job: dict[str, Any], report_to: int) -> None:
    """Run a job; what became of it is written to a file descriptor as JSON."""
    hold = Hold(spaces=job["namespaces"] and kernel.unshare())
    keeper = os.fork()
    if keeper == 0:
        code = 1
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.write(report_to, json.dumps(keep(job, hold, report_to)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(report_to)
    os.waitpid(keeper, 0)  # returns when every process of its namespace is gone


def keep(job: dict[str, Any], hold: Hold, report_to: int) -> dict[str, Any]:
    """Start the program, wait for it as long as it may take, and end what it leaves behind."""
    user = unused_user()
    if hold.spaces:
        hold.files = has_own_files(job)
    if hold.files or all(map(is_open_to_all, (os.__file__, sys.prefix, sys.base_prefix))):
        hold.user = user
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    heard, said = os.pipe()
    started = time.monotonic()
    program = os.fork()
    if program == 0:
        os.close(report_to)
        os.close(heard)
        be_the_program(job, hold, said)
    os.close(said)
    ended = wait(program, started + job["wall_s"], None if hold.files else job["folder"], job["disk_bytes"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(program, signal.SIGKILL)
    _, status, usage = os.wait4(program, 0)
    if not hold.spaces:
        end_descendants()
    layers, word, problem = hear(heard)
    return {
        "layers": hold.layers + layers,
        "word": word,
        "reason": ended or problem,
        "exit": os.waitstatus_to_exitcode(status),
        "duration_s": time.monotonic() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def has_own_files(job: dict[str, Any]) -> bool:
    """Whether a file tree of its own could be made; if not, the machine's is still there, and Landlock will keep it."""
    try:
        kernel.build_root(job["folder"], job["readable"], job["disk_bytes"])
    except OSError:
        os.chdir(job["folder"])
        return False
    return True


def hear(heard: int) -> tuple[list[str], str, str]:
    """What the program said of itself: what holds it, how it ended (U where it never began), and why it did not begin."""
    os.set_blocking(heard, False)
    try:
        first, _, rest = os.read(heard, 1000).decode(errors="replace").partition("\n")
    except BlockingIOError:
        return [], "U", "it could not be prepared in time"
    return (json.loads(first), rest[:1], "") if first.startswith("[") else ([], "U", first)


def unused_user() -> int | None:
    """A user that nobody is, where we may become one."""
    if os.geteuid() != 0:
        return None
    user = FIRST_USER + time.monotonic_ns() // 1000 % NUM_USERS
    with open("/proc/self/uid_map") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    return user if any(first <= user < first + count for first, _, count in ranges) else None


def is_open_to_all(path: str) -> bool:
    """Whether any user can reach and read it."""
    while path != "/":
        if not os.stat(path).st_mode & (0o005 if os.path.isdir(path) else 0o004):
            return False
        path = os.path.dirname(path)
    return True


def wait(program: int, deadline: float, folder: str | None, disk_bytes: int) -> str:
    """Until the program ends or must end; why it must, or nothing."""
    poll = select.poll()
    opened = os.pidfd_open(program)
    poll.register(opened, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return "wall time"
        if poll.poll(1000 * (left if folder is None else min(left, POLL_S))):
            os.close(opened)
            return ""
        if folder is not None and is_too_large(folder, disk_bytes):
            return "disk"


def is_too_large(folder: str, disk_bytes: int) -> bool:
    total = number = 0
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            number += 1
            with contextlib.suppress(OSError):
                total += os.lstat(f"{path}/{name}").st_blocks * 512
            if total > disk_bytes or number > kernel.MOST_FILES:
                return True
    return False


def end_descendants() -> None:
    """Kill all that comes from us; orphans of the program are our children, since we asked for them."""
    own = os.getpid()
    while True:
        parents = dict(_parents())
        for pid in parents:
            above = pid
            while above in parents and above != own:
                above = parents[above]
            if above == own and pid != own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(0.001)


def _parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                yield int(name), int(file.read().rpartition(")")[2].split()[1])


def be_the_program(job: dict[str, Any], hold: Hold, said: int) -> None:
    """Give up every right and run the stranger's code. Never returns."""
    code = 1
    try:
        give_input(job["stdin"])
        layers = give_up_rights(job, hold)
        os.write(said, json.dumps(layers).encode() + b"\n")
    except (OSError, ValueError, Unavailable) as error:
        os.write(said, f"{error}"[:900].encode())
        os._exit(code)
    try:
        word, code = run(job["program"])
        os.write(said, word)
    finally:
        os._exit(code)


def give_input(text: str) -> None:
    file = os.memfd_create("stdin")
    with open(os.dup(file), "wb") as stream:
        stream.write(text.encode())
    os.lseek(file, 0, os.SEEK_SET)
    os.dup2(file, 0)
    os.close(file)


def give_up_rights(job: dict[str, Any], hold: Hold) -> list[str]:
    """Limits, user, rights, files and system calls, in the order in which each is still allowed; the last two by name."""
    os.setsid()
    home = kernel.HOME if hold.files else job["folder"]
    if hold.user is not None:
        become(hold.user, None if hold.files else home)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(home)
    os.environ.update(HOME=home, TMPDIR="/tmp" if hold.files else home)
    for kind, most in limits(job, hold).items():
        resource.setrlimit(kind, (most, most + (kind == resource.RLIMIT_CPU)))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()
    return keep_apart(job, hold, threads_only=os.geteuid() == 0)


def become(user: int, home: str | None) -> None:
    if home is not None:
        os.chown(home, user, user)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if not os.access(os.__file__, os.R_OK):
        raise Unavailable(f"{os.__file__} cannot be read by other users than root; install Python so that it can")


def keep_apart(job: dict[str, Any], hold: Hold, threads_only: bool) -> list[str]:
    """What namespaces do not do, by other means."""
    layers = []
    if not hold.files:
        try:
            kernel.landlock(job["readable"], job["folder"])
        except OSError as error:
            raise Unavailable(
                f"this kernel allows neither namespaces nor Landlock ({error.strerror}), so that generated code could read "
                "and change the files of whoever runs it; allow one of them, or evaluate on another machine"
            ) from error
        layers.append("landlock")
    # a socket of the machine's file tree reaches its daemons, whatever the network
    forbidden = [*kernel.LOOKING_IN, *([] if hold.spaces else kernel.SIGNALS), *([] if hold.files else ["socket"])]
    if platform.machine() in kernel.SYSCALLS:
        kernel.seccomp(forbidden, threads_only)
        return [*layers, "seccomp", *(["no new processes"] if threads_only else [])]
    if threads_only or not hold.files:
        raise Unavailable(f"on {platform.machine()} generated code runs in namespaces and not as root only")
    return layers


def limits(job: dict[str, Any], hold: Hold) -> dict[int, int]:
    # The kernel counts processes by user: over the machine, unless the user is new or the namespace is.
    others = 0 if hold.spaces or hold.user is not None else tasks_of(os.geteuid())
    return {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: job["cpu_s"],
        resource.RLIMIT_AS: job["memory_bytes"],
        resource.RLIMIT_FSIZE: job["file_bytes"],
        resource.RLIMIT_NOFILE: job["open_files"],
        resource.RLIMIT_NPROC: job["processes"] + others,
    }


def tasks_of(user: int) -> int:
    """Processes and threads that a user has."""
    total = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{name}/task")) if os.stat(f"/proc/{name}").st_uid == user else 0
    return total


def run(text: str) -> tuple[bytes, int]:
    """F for finished, E for an exception, M for one of memory, X for an exit of its own; and the exit status."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    word, code = b"F", 0
    try:
        exec(compile(text, "program.py", "exec"), module.__dict__)
    except SystemExit as ended:
        word, code = b"X", ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except MemoryError:
        word, code = b"M", 1
        os.write(2, b"MemoryError\n")
    except BaseException as error:
        word, code = b"E", 1
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
    sys.stdout.flush()
    sys.stderr.flush()
    return word, code & 0xFF


if __name__ == "__main__":
    launch(json.loads(sys.stdin.buffer.read()), report_to=int(sys.argv[1]))
