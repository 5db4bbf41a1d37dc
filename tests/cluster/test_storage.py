"""Folders in storage: files appear whole or not at all, wherever the folder lies."""

import pickle

import pytest

from cluster.exceptions import ResourceError
from cluster.storage import Storage


def test_what_is_written_is_read_back(tmp_path):
    storage = Storage.open(tmp_path / "runs").child("a", "b")
    storage.write_json("deep/er/x.json", {"größe": [1, 2.5, None]})
    assert storage.read_json("deep/er/x.json") == {"größe": [1, 2.5, None]}
    assert storage.list() == ["deep"]
    assert storage.list("deep/er") == ["x.json"]
    assert storage.exists("deep/er/x.json") and not storage.exists("deep/y")
    assert storage.size("deep") == storage.size("deep/er/x.json") > 0


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    storage = Storage.open(tmp_path)
    storage.write_text("record.json", "old")
    with pytest.raises(RuntimeError), storage.open_output("record.json") as stream:
        stream.write(b"half of the n")
        raise RuntimeError("killed")
    assert storage.read_text("record.json") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_lines_are_appended(tmp_path):
    storage = Storage.open(tmp_path)
    storage.append_text("logs/a.jsonl", "1\n")
    storage.append_text("logs/a.jsonl", "2\n")
    assert storage.read_text("logs/a.jsonl") == "1\n2\n"


def test_uploading_a_folder_replaces_what_was_there(tmp_path):
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(text)
    storage = Storage.open(tmp_path / "runs")
    storage.upload_folder(tmp_path / "one", "model")
    storage.upload_folder(tmp_path / "two", "model")
    assert storage.list("model") == ["two.txt"]
    assert storage.list() == ["model"]
    assert (storage.local_folder("model") / "two.txt").read_text() == "2"


def test_deleting_takes_files_and_folders_and_what_is_not_there(tmp_path):
    storage = Storage.open(tmp_path)
    storage.write_text("folder/file", "x")
    storage.delete("folder/file")
    storage.delete("folder")
    storage.delete("never-was")
    assert storage.list() == []


def test_random_access_reads_the_middle_of_a_file(tmp_path):
    storage = Storage.open(tmp_path)
    storage.write_bytes("x", bytes(range(100)))
    with storage.open_input("x") as file:
        file.seek(50)
        assert file.read(3) == bytes([50, 51, 52])


def test_it_travels_between_processes_as_its_url(tmp_path):
    storage = Storage.open(tmp_path)
    storage.write_text("x", "y")
    assert pickle.loads(pickle.dumps(storage)).read_text("x") == "y"


def test_a_relative_path_is_the_same_place_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage.open("runs").url == str(tmp_path / "runs")
    assert Storage.open(f"file://{tmp_path}/runs").url == str(tmp_path / "runs")


def test_children_of_a_url_keep_its_options():
    url = "s3://bucket/runs?region=eu-west-1&scheme=https"
    child = Storage.open(url).child("data", "x")
    assert child.url == "s3://bucket/runs/data/x?region=eu-west-1&scheme=https"
    assert not child.is_local
    assert child.filesystem()[1] == "bucket/runs/data/x"


def test_a_remote_file_system_behaves_like_a_local_folder():
    storage = Storage.open("mock://bucket/runs")  # pyarrow's file system in memory
    with pytest.raises(FileNotFoundError):
        storage.read_text("record.json")
    assert storage.list("nothing") == []


def test_a_scheme_that_nobody_knows_is_refused_in_one_sentence():
    with pytest.raises(ResourceError, match=r"ftp://host/x: cannot be opened as storage .*change cluster.storage_path"):
        Storage.open("ftp://host/x")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ResourceError, match="a file is in the way"):
        Storage.open(tmp_path / "runs").write_text("x", "y")
