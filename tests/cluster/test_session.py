"""A Ray session of ours has its own token, joins what is there, and leaves nothing behind."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import session
from cluster.config import ClusterConfig
from cluster.exceptions import ResourceError
from cluster.session import check_workers_fit, private_folder, ray_session, resources

ROOT = Path(session.__file__).parents[1]

SESSION = """
import os, sys, psutil, ray
from cluster.config import ClusterConfig
from cluster.session import ray_session, resources

@ray.remote
def look():
    import cluster.exceptions, shutil
    names = ("OMP_NUM_THREADS", "DS_ACCELERATOR", "RAY_TRAIN_V2_ENABLED", "TORCH_EXTENSIONS_DIR")
    return {name: os.environ.get(name) for name in names} | {"ninja": shutil.which("ninja")}

before = dict(os.environ)
try:
    with ray_session(ClusterConfig()):
        assert resources()[0] == os.cpu_count()
        assert os.environ["RAY_AUTH_MODE"] == "token"
        seen = ray.get(look.remote())
        ours = psutil.Process().children(recursive=True)
        assert len(ours) > 3
        if "fail" in sys.argv:
            raise ValueError("on purpose")
except ValueError:
    pass
alive = [one for one in ours if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
assert not alive, alive
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
assert changed <= {"RAY_CLIENT_MODE", "PYTHONBREAKPOINT"}, changed  # Ray's own
print(seen)
"""


def in_a_session(tmp_path, *arguments):
    """Run the script above with a private temp folder and without the settings that tests have."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "OMP_", "MOBULA"))}
    return subprocess.run(
        [sys.executable, "-c", SESSION, *arguments],
        cwd=ROOT,
        env=cleared | {"RAY_TMPDIR": str(tmp_path), "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def short_path():
    """A folder whose path leaves room for socket names, which pytest's own does not."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mb", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("ending", ["well", "fail"])
def test_a_local_session_starts_configured_and_leaves_no_process(short_path, ending):
    done = in_a_session(short_path, ending)
    assert done.returncode == 0, done.stderr
    seen = eval(done.stdout)
    private = short_path / f"mobula-{os.getuid()}"
    assert seen["OMP_NUM_THREADS"] == "1"
    assert seen["RAY_TRAIN_V2_ENABLED"] == "1"
    assert seen["TORCH_EXTENSIONS_DIR"] == str(private / "cache" / "torch_extensions")
    assert seen["ninja"] == str(Path(sys.executable).parent / "ninja")
    assert seen["DS_ACCELERATOR"] == (None if session.has_gpu() else "cpu")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((private / "ray-token").stat().st_mode) == 0o600
    assert not (short_path / "home" / ".ray").exists()
    kept = [path for path in (private / "ray").iterdir() if not path.is_symlink()]
    assert len(kept) == (1 if ending == "fail" else 0)  # the logs of a failure stay


def test_a_session_inside_a_session_joins_it(ray_cluster):
    import ray

    with ray_session(ClusterConfig()):
        assert resources()[0] == 4
    assert ray.is_initialized()


def test_more_workers_than_the_cluster_has_are_refused(ray_cluster):
    check_workers_fit(ClusterConfig(num_workers=4))
    with pytest.raises(ResourceError, match=r"needs 5 CPUs, but the cluster has 4 CPUs"):
        check_workers_fit(ClusterConfig(num_workers=5))


def test_a_private_folder_that_somebody_else_could_fill_is_refused(short_path, monkeypatch):
    (short_path / "target").mkdir()
    (short_path / f"mobula-{os.getuid()}").symlink_to(short_path / "target")
    monkeypatch.setenv("RAY_TMPDIR", str(short_path))
    with pytest.raises(ResourceError, match="belongs to another user"):
        private_folder()


def test_a_long_temp_folder_is_replaced_by_a_short_one(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 80)
    assert private_folder() == Path(f"/tmp/mobula-{os.getuid()}")


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    code = (
        "from cluster.config import ClusterConfig; from cluster.session import ray_session\n"
        "with ray_session(ClusterConfig(address='127.0.0.1:1')): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ResourceError: no Ray cluster answered at 127.0.0.1:1" in done.stderr


def test_what_rays_daemons_say_never_stands_in_a_commands_answer(capsys):
    from ray._private import worker

    session._keep_stdout_ours()
    session._keep_stdout_ours()
    worker.print_to_stdstream(
        {"lines": ["8 PYTHON worker processes have been started"], "pid": "raylet", "is_err": False}, False
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert "8 PYTHON" in said.err
