"""A JSON array of objects, parsed element by element, never as a whole."""

from __future__ import annotations

import io
import json

from cluster.exceptions import DataError
from trainers.data.datafile import CHUNK, DataFile, Rows, fault_of, open_text, too_long
from trainers.data.readers.lines import read_lines


def read_json(file: DataFile, start: int, end: int | None) -> Rows:
    """The elements of an array; their position is the line in which they begin."""
    del start, end
    with io.TextIOWrapper(open_text(file), encoding="utf-8-sig") as stream:
        yield from JsonArray(file, stream).elements()


class JsonArray:
    """Elements of a JSON array read from a text stream, with the line each begins in."""

    def __init__(self, file: DataFile, stream: io.TextIOWrapper) -> None:
        self.file, self.stream = file, stream
        self.buffer, self.cursor, self.line = "", 0, 1
        self.decoder = json.JSONDecoder()

    def more(self, size: int = CHUNK) -> bool:
        """Append to the buffer what follows in the stream."""
        left = len(self.buffer) - self.cursor
        if left > self.file.max_row_bytes:
            raise DataError(f"{self.file.name}:{self.line}: {too_long(self.file, 'an element')}")
        try:
            text = self.stream.read(max(size, left))  # doubling keeps long elements linear
        except UnicodeDecodeError:
            raise DataError(_first_fault(self.file)) from None
        self.buffer, self.cursor = self.buffer[self.cursor :] + text, 0
        return bool(text)

    def peek(self) -> str:
        """Next character that is not white space, or an empty string at the end."""
        while True:
            while self.cursor < len(self.buffer) and self.buffer[self.cursor].isspace():
                self.line += self.buffer[self.cursor] == "\n"
                self.cursor += 1
            if self.cursor < len(self.buffer):
                return self.buffer[self.cursor]
            if not self.more():
                return ""

    def take(self, expected: str) -> None:
        """Step over one character."""
        found = self.peek()
        if not found or found not in expected:
            found = repr(found) if found else "the end of the file"
            raise DataError(
                f"{self.file.name}:{self.line}: not a JSON array: found {found}, expected one of {' '.join(expected)}"
            )
        self.cursor += 1

    def elements(self) -> Rows:
        self.take("[")
        if self.peek() == "]":
            return
        while True:
            self.peek()
            line, start = self.line, self.cursor
            start, end = self.element()
            text = self.buffer[start:end]
            self.line += text.count("\n")
            self.cursor = end
            yield line, text
            if self.peek() == "]":
                return
            self.take(",]")

    def element(self) -> tuple[int, int]:
        """Bounds in the buffer of the element that begins at the cursor."""
        while True:
            try:
                _, end = self.decoder.raw_decode(self.buffer, self.cursor)
            except json.JSONDecodeError as error:
                if self.more():
                    continue
                line = self.line + self.buffer.count("\n", self.cursor, error.pos)
                raise DataError(f"{self.file.name}:{line}: not JSON ({error.msg})") from error
            except (RecursionError, ValueError) as error:
                raise DataError(f"{self.file.name}:{self.line}: JSON that cannot be read ({error})") from error
            if end < len(self.buffer) or not self.more():  # a number may go on in the next chunk
                return self.cursor, end


def _first_fault(file: DataFile) -> str:
    """Where the bytes are that are not UTF-8, found by reading the file again as lines."""
    for number, (_, line) in enumerate(read_lines(file, 0, None), start=1):
        if found := fault_of(line):
            return f"{file.name}:{number}: {found[0]}"
    return f"{file.name}: not UTF-8; save the file as UTF-8"
