"""What Linux offers to hold a program: namespaces, Landlock, seccomp. The standard library only, see `launch.py`."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 1 << 18
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, AT_RECURSIVE, MNT_DETACH = 1, 2, 0x8000, 2
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
SYS_MOUNT_SETATTR, SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 442, 444, 445, 446

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
HOME = "/home/program"
"""Where the program starts, in a file tree of its own."""
MOST_FILES = 10_000

SYSCALLS = {
    "x86_64": {
        "audit": 0xC000003E,
        "pivot_root": 155,
        "socket": 41,
        "clone": 56,
        "fork": 57,
        "vfork": 58,
        "kill": 62,
        "ptrace": 101,
        "rt_sigqueueinfo": 129,
        "tkill": 200,
        "tgkill": 234,
        "rt_tgsigqueueinfo": 297,
        "prlimit64": 302,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
    },
    "aarch64": {
        "audit": 0xC00000B7,
        "pivot_root": 41,
        "ptrace": 117,
        "kill": 129,
        "tkill": 130,
        "tgkill": 131,
        "rt_sigqueueinfo": 138,
        "socket": 198,
        "clone": 220,
        "rt_tgsigqueueinfo": 240,
        "prlimit64": 261,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
    },
}
SYSCALLS_EVERYWHERE = {"pidfd_send_signal": 424, "io_uring_setup": 425, "clone3": 435}


def call(function: Any, *args: Any) -> int:
    """A function of libc.

    Raises:
        OSError: what it set errno to.
    """
    found = int(function(*args))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def prctl(option: int, value: int) -> None:
    call(LIBC.prctl, option, ctypes.c_ulong(value), 0, 0, 0)


def drop_capabilities() -> None:
    header, nothing = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
    call(LIBC.capset, header, nothing)


def syscall(number: int, *args: Any) -> int:
    return call(LIBC.syscall, ctypes.c_long(number), *args)


# -- namespaces -----------------------------------------------------------------------------------


def unshare() -> bool:
    """Leave the machine's network, processes and mounts; whether that was allowed."""
    apart = NEW_MOUNTS | NEW_PIDS | NEW_NET | NEW_IPC | NEW_UTS
    user, group = os.geteuid(), os.getegid()
    with contextlib.suppress(OSError):
        if user == 0:
            call(LIBC.unshare, apart)
            return True
    try:
        call(LIBC.unshare, NEW_USER | apart)
    except OSError:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def build_root(root: str, readable: Sequence[str], disk_bytes: int) -> None:
    """Make a file tree of what may be read, and an empty folder to write to, and let nothing else exist.

    Raises:
        OSError: if the kernel does not allow it; the old tree is then still there.
    """
    os.umask(0o022)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk_bytes},nr_inodes={MOST_FILES},mode=755")
    for path in sorted(outermost([*SYSTEM, sys.base_prefix, sys.prefix, *readable]), key=os.path.islink):
        show(root, path)
    for path in (HOME, "/tmp", "/dev/shm", "/proc"):
        os.makedirs(f"{root}{path}", exist_ok=True)
    for path in (HOME, "/tmp", "/dev/shm"):
        os.chmod(f"{root}{path}", 0o1777)
    for device in DEVICES:
        bind(device, f"{root}{device}")
    with contextlib.suppress(
        OSError
    ):  # refused where the machine's own /proc is partly hidden, as inside some containers
        mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(root)
    syscall(SYSCALLS[platform.machine()]["pivot_root"], b".", b".")
    call(LIBC.umount2, b".", MNT_DETACH)
    os.chdir(HOME)


def outermost(paths: Sequence[str]) -> Iterator[str]:
    """Those that exist and lie in none of the others."""
    there = sorted({os.path.abspath(path) for path in paths if os.path.exists(path)})
    last = None
    for path in there:
        if last is None or os.path.islink(last) or not f"{path}/".startswith(f"{last}/"):
            yield path
            last = path


def show(root: str, path: str) -> None:
    """Let a path of the machine be read under the new root."""
    if os.path.islink(path):
        os.makedirs(os.path.dirname(f"{root}{path}"), exist_ok=True)
        os.symlink(os.readlink(path), f"{root}{path}")
        target = os.path.realpath(path)
        if not os.path.exists(f"{root}{target}"):
            show(root, target)
        return
    bind(path, f"{root}{path}")
    flags = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
    attributes = ctypes.create_string_buffer(struct.pack("=QQQQ", flags, 0, 0, 0))
    syscall(SYS_MOUNT_SETATTR, -100, f"{root}{path}".encode(), AT_RECURSIVE, attributes, 32)


def bind(path: str, target: str) -> None:
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
    mount(path, target, None, MS_BIND | MS_REC)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    call(LIBC.mount, *texts, ctypes.c_ulong(flags), None if options is None else options.encode())


# -- Landlock and seccomp -------------------------------------------------------------------------

READ_FILES, WRITE_FILES = 0b101, 0b111
READ_FOLDERS = 0b1101


def landlock(readable: Sequence[str], writable: str) -> None:
    """Forbid all files but these, looking into other processes and, on newer kernels, TCP and signals to them.

    Raises:
        OSError: if the kernel has no Landlock.
    """
    version = syscall(SYS_LANDLOCK_CREATE, None, 0, 1)
    files = (1 << {1: 13, 2: 14}.get(version, 15)) - 1
    rules = struct.pack("=QQQ", files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    rules = rules[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = syscall(SYS_LANDLOCK_CREATE, ctypes.create_string_buffer(rules, len(rules)), len(rules), 0)
    for path in (*SYSTEM, sys.base_prefix, sys.prefix, *readable):
        if os.path.exists(path):
            _allow(ruleset, path, READ_FOLDERS if os.path.isdir(path) else READ_FILES)
    for path in DEVICES:
        _allow(ruleset, path, WRITE_FILES & files)
    _allow(ruleset, writable, files)
    syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    syscall(SYS_LANDLOCK_ADD, ruleset, 1, ctypes.create_string_buffer(struct.pack("=Qi", access, opened)), 0)
    os.close(opened)


def seccomp(forbidden: Sequence[str], threads_only: bool) -> None:
    """Answer system calls with "not permitted".

    Args:
        forbidden: their names; those that the machine does not have are passed over.
        threads_only: forbid new processes as well.
    """
    machine = SYSCALLS[platform.machine()]
    numbers = machine | SYSCALLS_EVERYWHERE
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    allow, refuse, missing, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
    code = [(load, 0, 0, 4), (equal, 1, 0, machine["audit"]), (give, 0, 0, kill), (load, 0, 0, 0)]
    code += [(0x35, 0, 1, 0x40000000), (give, 0, 0, kill)]  # the other numbers of x86-64 would go past the list
    for name in [*forbidden, *(["fork", "vfork"] if threads_only else [])]:
        if name in numbers:
            code += [(equal, 0, 1, numbers[name]), (give, 0, 0, refuse)]
    code += [(equal, 0, 1, numbers["io_uring_setup"]), (give, 0, 0, missing)]
    # prlimit of another process: its first argument is not 0
    code += [(equal, 0, 3, numbers["prlimit64"]), (load, 0, 0, 16), (equal, 2, 0, 0), (give, 0, 0, refuse)]
    code += [(load, 0, 0, 0), (0x05, 0, 0, 0)]
    if threads_only:
        code += [(equal, 0, 1, numbers["clone3"]), (give, 0, 0, missing)]
        code += [(equal, 0, 3, numbers["clone"]), (load, 0, 0, 16), (any_bit, 1, 0, 0x10000), (give, 0, 0, refuse)]
    code += [(give, 0, 0, allow)]
    packed = b"".join(struct.pack("=HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(buffer)))
    call(LIBC.prctl, PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0)


SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
LOOKING_IN = ("ptrace", "process_vm_readv", "process_vm_writev")
