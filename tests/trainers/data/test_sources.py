"""Files of every format, found by name, read as a stream, with the right line in an error."""

import bz2
import csv
import gzip
import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.config import DataConfig
from cluster.exceptions import DataError
from trainers.data import hub, sources
from trainers.data.formats import CHUNK, DataFile, read_lines
from trainers.data.shapes import LabelledText, Text
from trainers.data.sources import examples, locate

ROWS = [{"text": f"row {number}, überall 🚀"} for number in range(5)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def texts(spec, **data) -> list[str]:
    return [example.text for example in examples(spec, DataConfig(train="unused", **data), "train")]


def located_rows(spec) -> list[tuple[str, dict]]:
    found = locate(spec)
    return [
        (found.where(file, position), json.loads(row)) for plan in found.plans for file, position, row in plan.rows()
    ]


def write(path, content) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def as_csv(path, delimiter=",") -> str:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([["text", "label"], *[[row["text"], "a"] for row in ROWS]])
    return str(path)


def as_parquet(path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), path)
    return str(path)


MAKERS = {
    "jsonl": lambda folder: write(folder / "a.jsonl", JSONL),
    "jsonl with byte-order mark and blank lines": lambda folder: write(
        folder / "a.jsonl", b"\xef\xbb\xbf" + JSONL.replace("\n", "\r\n\r\n").encode()
    ),
    "jsonl without last line break": lambda folder: write(folder / "a.jsonl", JSONL.rstrip()),
    "jsonl named json": lambda folder: write(folder / "a.json", JSONL),
    "jsonl without extension": lambda folder: write(folder / "rows", JSONL),
    "gzip": lambda folder: write(folder / "a.jsonl.gz", gzip.compress(JSONL.encode())),
    "bz2": lambda folder: write(folder / "a.jsonl.bz2", bz2.compress(JSONL.encode())),
    "json": lambda folder: write(folder / "a.json", json.dumps(ROWS, ensure_ascii=False, indent=1)),
    "json in one line": lambda folder: write(folder / "a.json", json.dumps(ROWS)),
    "csv": lambda folder: as_csv(folder / "a.csv"),
    "semicolon csv": lambda folder: as_csv(folder / "a.csv", ";"),
    "tsv": lambda folder: as_csv(folder / "a.tsv", "\t"),
    "parquet": lambda folder: as_parquet(folder / "a.parquet"),
    "plain text": lambda folder: write(folder / "a.txt", "\n\n".join(row["text"] for row in ROWS)),
}


@pytest.mark.parametrize("format", MAKERS)
def test_every_format_gives_the_same_rows(tmp_path, format):
    assert texts(MAKERS[format](tmp_path)) == [row["text"] for row in ROWS]


def test_folders_globs_and_lists_are_read_in_order(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "_skipped.jsonl", ".hidden.jsonl", "notes.pdf"):
        write(tmp_path / "set" / name, json.dumps({"text": name}))
    folder = str(tmp_path / "set")
    assert texts(folder) == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]
    assert texts(f"{folder}/[ab].jsonl") == ["a.jsonl", "b.jsonl"]
    assert texts(f"{folder}/*.jsonl") == [".hidden.jsonl", "_skipped.jsonl", "a.jsonl", "b.jsonl"]
    assert texts(f"{folder}/**/c.jsonl") == ["deep/c.jsonl"]
    assert texts([f"{folder}/b.jsonl", f"{folder}/a.jsonl"]) == ["b.jsonl", "a.jsonl"]
    assert texts(f"file://{folder}/a.jsonl") == ["a.jsonl"]


def test_relative_globs_work(tmp_path, monkeypatch):
    write(tmp_path / "set" / "a.jsonl", JSONL)
    monkeypatch.chdir(tmp_path)
    assert len(texts("set/*.jsonl")) == len(texts("*/a.jsonl")) == len(texts("set/a.jsonl")) == 5


def test_max_rows_limits_each_source(tmp_path):
    path = write(tmp_path / "a.jsonl", JSONL)
    sampled = locate([path, path], max_rows=2)
    assert [len(list(plan.rows())) for plan in sampled.plans] == [2, 2]


def test_http_addresses_are_read(tmp_path):
    write(tmp_path / "a.jsonl", JSONL)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *args: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert len(texts(f"http://127.0.0.1:{server.server_port}/a.jsonl")) == 5
        server.shutdown()


def test_datasets_folders_give_class_names_and_splits(tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    datasets.DatasetDict({"train": split, "test": split.select([0])}).save_to_disk(str(tmp_path / "set"))
    split.save_to_disk(str(tmp_path / "single"))

    def read(spec, role) -> list:
        return list(examples(spec, DataConfig(train="unused"), role, classification=True))

    both = [LabelledText("a", "yes"), LabelledText("b", "no")]
    assert read(str(tmp_path / "set"), "train") == read(str(tmp_path / "single"), "train") == both
    assert read(str(tmp_path / "set"), "test") == read(f"{tmp_path / 'set'}:test", "train") == both[:1]
    with pytest.raises(DataError, match=r"found the splits train, test, expected dev; name one as"):
        read(f"{tmp_path / 'set'}:dev", "train")
    with pytest.raises(DataError, match=r"found the splits train, test, expected validation or valid"):
        read(str(tmp_path / "set"), "validation")


def test_a_hub_data_set_is_streamed_shard_by_shard(tmp_path):
    for shard in range(3):
        write(tmp_path / "owner" / "name" / "data" / f"train-{shard}.jsonl", json.dumps({"text": f"shard {shard}"}))
    file = DataFile("owner/name", str(tmp_path / "owner" / "name"), "datasets", "hub", 0, split="train")
    ranges = list(hub.row_ranges(file))
    assert len(ranges) == 3
    rows = [json.loads(row)["text"] for start, end in ranges for _, row in hub.read_rows(file, start, end)]
    assert rows == ["shard 0", "shard 1", "shard 2"]


def test_a_hub_that_cannot_be_reached_is_one_sentence():
    with pytest.raises(DataError, match="owner/name: no file or folder of that name is here, and no such data set"):
        locate("owner/name")


def test_line_numbers_hold_in_every_byte_range(tmp_path):
    lines = [f"line {number} " + "x" * (number * 7 % 50) for number in range(200)]
    file = locate(write(tmp_path / "a.txt", "\n".join(lines) + "\n")).files[0]
    for size in (1, 13, 64, 1000, 10_000):
        found = [row for start in range(0, file.size, size) for row in read_lines(file, start, start + size)]
        assert [text for _, text in found] == lines
        assert file.where(found[123][0]).endswith(":124")


def test_a_large_file_is_read_by_several_tasks(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", JSONL * 50)
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    found = locate(path)
    assert len(found.plans) > 5
    rows = [found.where(file, position) for plan in found.plans for file, position, _ in plan.rows()]
    assert rows == [f"{path}:{number}" for number in range(1, 251)]


def test_places_name_the_line_of_a_row_also_behind_rows_of_several_lines(tmp_path):
    table = write(tmp_path / "a.csv", 'text,label\none,a\n"two\nlines",b\nthree,c\n')
    assert [place.rpartition(":")[2] for place, _ in located_rows(table)] == ["2", "3", "5"]
    array = write(tmp_path / "a.json", '[\n  {"text":\n   "one"},\n\n  {"text": "two"}]')
    assert [place.rpartition(":")[2] for place, _ in located_rows(array)] == ["2", "5"]


def test_array_elements_may_be_longer_than_what_is_read_at_once(tmp_path):
    rows = [{"text": "x" * (2 * CHUNK + 3)}, {"text": "y"}, {"text": "z" * CHUNK}]
    assert texts(write(tmp_path / "a.json", json.dumps(rows))) == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", "", "a.jsonl: the file is empty"),
        ("a.jsonl", "\n\n", "a.jsonl: the file has no rows"),
        ("a.json", "[]", "a.json: the file has no rows"),
        ("a.csv", "text,label\n", "a.csv: the file has no rows"),
        (
            "a.jsonl",
            '{"text": "x"}\n\n{"text": "x"\n',
            r"a.jsonl:3: not JSON \(Expecting ',' delimiter.*one JSON object",
        ),
        ("a.json", '[{"text": "x"},\n{"text" "y"}]', r"a.json:2: not JSON"),
        ("a.json", '[{"text": "x"}\n{"text": "y"}]', r"a.json:2: not a JSON array: found '{', expected one of , ]"),
        ("a.json", '[{"text": "x"}', r"a.json:1: not a JSON array: found the end of the file"),
        ("a.csv", 'text,label\nx,a\nx,y,"z\n', r"a.csv:3: not CSV"),
        ("a.csv", "text,label\nx,a\nx,y,z\n", r"a.csv:3: found 3 fields, expected 2 as in the header \(text, label\)"),
        ("a.parquet", "not parquet at all", "a.parquet: not a Parquet file"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xff"}\n', "a.jsonl:2: not UTF-8"),
        ("a.pdf", "%PDF", "a.pdf: unknown format; expected JSONL"),
        ("a.jsonl", '{"text": "x"}\n{"foo": 1}\n', r"a.jsonl:2: found the columns foo, which are of no known shape"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_with_its_place(tmp_path, name, content, sentence):
    with pytest.raises(DataError, match=sentence):
        texts(write(tmp_path / name, content))


@pytest.mark.parametrize("spec", ["none.jsonl", "folder/none.csv", "/none/at/all.json", "none/*.jsonl"])
def test_a_missing_file_is_one_sentence(spec):
    with pytest.raises(DataError, match=r"there is no such file or folder; expected JSONL"):
        locate(spec)


def test_empty_files_in_a_folder_are_passed_over_until_none_is_left(tmp_path):
    write(tmp_path / "set" / "a.jsonl", "")
    with pytest.raises(DataError, match="found 1 empty files"):
        locate(str(tmp_path / "set"))
    write(tmp_path / "set" / "b.jsonl", JSONL)
    assert len(texts(str(tmp_path / "set"))) == 5


def test_the_stamp_follows_the_content_not_the_time(tmp_path):
    path = write(tmp_path / "a.jsonl", JSONL)
    first = locate(path).files[0].stamp
    os.utime(path, (1, 1))
    assert locate(path).files[0].stamp == first
    write(tmp_path / "a.jsonl", JSONL.replace("row 3", "row 9"))
    assert locate(path).files[0].stamp != first
    assert Text("row 9, überall 🚀") in list(examples(path, DataConfig(train="unused"), "train"))
