"""Input that is broken: one sentence or a rejected row with its reason, never a hang, never a crash later on."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cluster.config import DataConfig, RunConfig
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.sources import examples
from trainers.data.staging import StagedRows, stage_rows

GOOD = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(2000))
ROW_LIMIT = 1 << 20


def write(path: Path, content: bytes | str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(spec: Any, **data: Any) -> list[Any]:
    return list(examples(spec, DataConfig(train="unused", **data), "train"))


def staged(folder: Path, train: str, **data: Any) -> StagedRows:
    config = {"name": "bad", "model": {"kind": "scratch"}, "data": {"train": train, "on_error": "reject", **data}}
    return stage_rows(RunConfig.model_validate(config), Storage.open(folder / "storage"))


def reasons(rows: StagedRows) -> list[str]:
    return [str(record.rejected).partition("read: ")[2].rpartition("/")[2] for record in rows.rejected()]


def as_zip(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, GOOD)
    return buffer.getvalue()


def as_tar(names: list[str], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(GOOD)
            archive.addfile(member, io.BytesIO(GOOD.encode()))
    return buffer.getvalue()


def as_parquet(rows: list[Any]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=100, compression="none")
    return buffer.getvalue()


def damaged(content: bytes, at: float = 0.5) -> bytes:
    middle = int(len(content) * at)
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]


ZIPPED = gzip.compress(GOOD.encode())
TABLE = as_parquet([{"text": f"row {number} {'x' * 50}"} for number in range(1000)])
LATIN = "text,label\nfine,a\ncaf\xe9,b\nfine too,a\n".encode("latin-1")
SENTENCES = [
    ("a.jsonl.gz", ZIPPED[: len(ZIPPED) // 2], r"a.jsonl.gz: cannot be read.*cut short"),
    ("a.jsonl.gz", damaged(ZIPPED), r"a.jsonl.gz: cannot be read"),
    ("a.jsonl.gz", GOOD, r"a.jsonl.gz: cannot be read .*header"),
    ("a.json.gz", b"\x1f\x8b" + b"junk" * 100, r"a.json.gz: cannot be read"),
    ("a.jsonl", ZIPPED, "a.jsonl: is gzip data, expected JSONL as UTF-8 text"),
    ("a.csv", as_zip(["a.csv"]), "a.csv: is a ZIP archive, expected CSV"),
    ("a.jsonl.gz", gzip.compress(as_tar(["a"])), "a.jsonl.gz: is a tar archive"),
    ("a.json", TABLE, "a.json: is Parquet, expected JSON"),
    ("a.txt", b"some\0thing" * 100, r"a.txt: is binary data, or text in UTF-16 \(it holds NUL bytes\)"),
    ("a.csv", "text,label\nfine,a\n".encode("utf-16"), "a.csv: is text in UTF-16, expected CSV as UTF-8 text"),
    (
        "a.jsonl",
        b'{"text": "caf\xe9"}\n',
        r"a.jsonl:1: not UTF-8 .byte 0xe9 at offset 13; in Windows-1252 it is é.; save .*iconv",
    ),
    ("a.txt", b"fine\ncaf\xe9\n", "a.txt:2: not UTF-8 .byte 0xe9 at offset 8"),
    ("a.csv", LATIN, "a.csv:3: not UTF-8 .byte 0xe9 at offset 21"),
    ("a.json", b'[{"text": "fine"},\n{"text": "caf\xe9"}]', "a.json:2: not UTF-8 .byte 0xe9 at offset 32"),
    ("a.parquet", TABLE[: len(TABLE) // 2], "a.parquet: not a Parquet file .*cut short"),
    ("a.parquet", TABLE[:-4], "a.parquet: not a Parquet file"),
    ("a.parquet", as_parquet([{"text": "x"}])[:4] + TABLE[4:200], "a.parquet: not a Parquet file"),
    ("a.zip", as_zip(["../../etc/passwd"]), "a.zip: is an archive, and nothing is read out of archives"),
    ("a.tar.gz", as_tar(["/etc/passwd", "../a"], "w:gz"), "a.tar.gz: is an archive, .*unpack it"),
    (
        "a.csv",
        ",".join(f"c{number}" for number in range(100_000)) + "\n",
        "a.csv: found 100000 columns, expected at most",
    ),
    ("a.csv", "," * 2_000_000 + "\n", r"a.csv:1: not CSV \(a row of more than data.max_row_bytes"),
    ("a.csv", "text,text\nx,y\n", "a.csv:1: the column 'text' is named 2 times"),
    (
        "a.csv",
        'text,label\nx,"never closed\n' + "more\n" * 300_000,
        r"a.csv:2: not CSV \(a row of more than data.max_row_bytes=1048576",
    ),
    ("a.csv", "text,label\n" + "x" * (2 * ROW_LIMIT), "a.csv:2: not CSV .a row of more than data.max_row_bytes"),
    ("a.json", '[{"text": "' + "x" * (3 * ROW_LIMIT), "a.json:1: an element of more than data.max_row_bytes"),
    ("a.json", "[" * 200_000, r"a.json:1: JSON that cannot be read"),
    (
        "a.jsonl",
        GOOD + "x" * (2 * ROW_LIMIT),
        "a.jsonl:2001: a line of more than data.max_row_bytes=1048576 bytes; is a line end",
    ),
    (
        "a.parquet",
        as_parquet([{"text": "x" * (2 * ROW_LIMIT)}]),
        "a.parquet: row 1: a row of more than data.max_row_bytes",
    ),
    (
        "a.parquet",
        as_parquet([dict.fromkeys(map(str, range(10_001)), 1)]),
        "a.parquet: found 10001 columns, expected at most",
    ),
    (
        "a.jsonl",
        GOOD + '{"prompt": "p", "chosen": "c", "rejected": "r"}',
        "a.jsonl:2001: rows of shape preference can be looked",
    ),
    ("a.jsonl", '{"text": "x"}\n[1]\n', "a.jsonl:2: found a JSON array, expected an object"),
    ("a.jsonl", '{"text": null}\n', "a.jsonl:1: the text is null, expected text"),
    (
        "a.jsonl",
        json.dumps({f"c{number}": 1 for number in range(50_000)}),
        r"a.jsonl:1: found the columns c0, .*50000 in all",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "sentence"), SENTENCES, ids=[f"{name}-{said[:40]}" for name, _, said in SENTENCES]
)
def test_a_broken_file_is_one_short_sentence(tmp_path: Path, name: str, content: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        read(write(tmp_path / name, content), max_row_bytes=ROW_LIMIT)
    assert len(str(caught.value)) < 800 and "\n" not in str(caught.value)


def test_a_million_columns_are_one_sentence(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", ",".join(f"c{number}" for number in range(1_000_000)) + "\n" + "," * 999_999 + "\n"
    )
    with pytest.raises(
        DataError, match="found 1000000 columns, expected at most 10000; rows and columns may have been"
    ):
        read(path)


@pytest.mark.parametrize("where", ["header", "text"])
def test_a_damaged_page_of_a_table_is_one_sentence_with_the_row_before_it(tmp_path: Path, where: str) -> None:
    column = parquet.ParquetFile(io.BytesIO(TABLE)).metadata.row_group(5).column(0)
    at = column.data_page_offset if where == "header" else column.dictionary_page_offset + 1000
    path = write(tmp_path / "a.parquet", TABLE[:at] + b"\xff" * 30 + TABLE[at + 30 :])
    with pytest.raises(DataError, match=r"a.parquet: cannot be read behind .*a.parquet: row 500 "):
        read(path)


def test_a_line_of_a_hundred_megabytes_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as stream:
        for _ in range(100):
            stream.write(b"x" * (1 << 20))
        stream.write(b'\n{"text": "the next row"}\n')
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a.jsonl:1: a line of more than data.max_row_bytes=1048576"):
            read(str(path), max_row_bytes=ROW_LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_an_empty_shard_among_others_is_passed_over(tmp_path: Path) -> None:
    for name, content in {"a.jsonl": "", "b.jsonl.gz": gzip.compress(b""), "c.jsonl": GOOD}.items():
        write(tmp_path / "set" / name, content)
    write(tmp_path / "set" / "d.parquet", as_parquet([{"text": "x"}]))
    assert len(read(str(tmp_path / "set"))) == 2001


@pytest.mark.usefixtures("ray_cluster")
def test_lines_that_cannot_be_used_are_rejected_with_their_reasons_and_the_rest_is_kept(tmp_path: Path) -> None:
    lines = [
        b'{"text": "one"}',
        b'{"text": "caf\xe9"}',
        b"x" * 5000,
        b"[" * 3000,
        b'{"messages": [null]}',
        b'{"text": "half \\ud83d"}',
        b'{"text": "two"}',
    ]
    rows = staged(tmp_path, write(tmp_path / "a.jsonl", b"\n".join(lines)), max_row_bytes=4096)
    assert [record.row["text"] for record in rows.records("train")] == ["one", "two"]
    found = reasons(rows)
    assert [reason.partition(": ")[0] for reason in found] == [f"a.jsonl:{line}" for line in (2, 3, 4, 5, 6)]
    for reason, said in zip(
        found, ["not UTF-8", "a line of more", "JSON", "a message is null", "half of a"], strict=True
    ):
        assert said in reason


@pytest.mark.usefixtures("ray_cluster")
def test_fields_that_cannot_be_used_are_rejected_and_the_table_is_read_to_its_end(tmp_path: Path) -> None:
    rows = staged(tmp_path, write(tmp_path / "a.csv", LATIN + b"one,two,three\nlast,b\n"), shape="text")
    assert [record.row["text"] for record in rows.records("train")] == ["fine", "fine too", "last"]
    first, second = reasons(rows)
    assert first.startswith("a.csv:3: not UTF-8") and second.startswith("a.csv:5: found 3 fields, expected 2")


@pytest.mark.usefixtures("ray_cluster")
def test_a_file_that_breaks_off_ends_the_run_in_one_sentence_also_when_rows_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.jsonl.gz: cannot be read"):
        staged(tmp_path, write(tmp_path / "a.jsonl.gz", ZIPPED[: len(ZIPPED) // 2]))
