"""Read JSON, JSONL, CSV and TXT files of any size as rows, naming file and row when one is broken.

Each reader is an iterator that holds one row at a time (a JSON array is decoded element by element). A row is
a dictionary, or a string for plain text. Text is UTF-8, a byte order mark is allowed; anything else is an
error with the place it stands at. No torch.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ingot.worker.problem import TrainingError, failed

LARGEST_ROW = 64 * 1024 * 1024  # bytes
PASSAGE = 8192  # a text file without blank lines is cut at line ends after this many characters
_READ = 1 << 20
WRAPPERS = ("data", "rows", "records", "examples", "items", "train")  # {"data": [rows]} is met often

Row = dict[str, object] | str


def bad_row(
    file: str, place: str, message: str, next_step: str = "Correct the row and push the dataset again."
) -> TrainingError:
    """Build the error for one row: the file inside the dataset, the place in it, what is wrong."""
    return failed("VALIDATION_FAILED", f"{file}, {place}: {message}", next_step, file=file, place=place)


def read_rows(path: Path, name: str) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) of a file by its extension.

    Raises TrainingError VALIDATION_FAILED at the first broken row.
    """
    with path.open("rb") as file:
        yield from READERS[path.suffix.lower()](file, name)


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := file.readline(LARGEST_ROW + 1):
        number += 1
        if len(raw) > LARGEST_ROW:
            raise bad_row(name, f"line {number}", f"the line is longer than {LARGEST_ROW} bytes.")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"byte {error.start + 1} is not UTF-8 (0x{raw[error.start]:02x})."
            raise bad_row(name, f"line {number}", message, "Save the file as UTF-8.") from error


def _jsonl(file: BinaryIO, name: str) -> Iterator[tuple[str, Row]]:
    for number, line in _lines(file, name):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise bad_row(name, place, f"not a whole JSON value: {error}.") from error
        yield place, _row(value, name, place)


def _json(file: BinaryIO, name: str) -> Iterator[tuple[str, Row]]:
    text = _Text(file, name)
    if text.skip_space() == "[":
        for count, value in enumerate(_elements(text, name), 1):
            yield f"record {count}", _row(value, name, f"record {count}")
        return
    try:
        whole = json.loads(text.rest())
    except ValueError as error:
        raise bad_row(name, "the file", f"not valid JSON: {error}.") from error
    rows = [whole]
    if isinstance(whole, dict) and len(whole) == 1:
        ((key, value),) = whole.items()
        rows = value if key in WRAPPERS and isinstance(value, list) else rows
    for count, value in enumerate(rows, 1):
        yield f"record {count}", _row(value, name, f"record {count}")


def _elements(text: "_Text", name: str) -> Iterator[object]:
    """Decode a JSON array element by element: try, and read more while the element is cut."""
    decoder = json.JSONDecoder()
    text.take(1)
    count = 0
    if text.skip_space() == "]":
        return
    while True:
        count += 1
        value, length = _element(text, decoder, name, f"record {count}")
        text.take(length)
        yield value
        sign = text.skip_space()
        if sign not in (",", "]"):
            raise bad_row(name, f"record {count}", f"expected a comma or ] after the record; got {sign!r}.")
        text.take(1)
        text.skip_space()
        if sign == "]":
            return


def _element(text: "_Text", decoder: json.JSONDecoder, name: str, place: str) -> tuple[object, int]:
    text.skip_space()
    while True:
        try:
            value, end = decoder.raw_decode(text.buffer)
        except ValueError as error:
            if text.more():
                continue
            raise bad_row(name, place, f"not a whole JSON value: {error}.") from error
        # A number at the end of the buffer may go on in what was not read yet.
        if end < len(text.buffer) or not text.more():
            return value, end


class _Text:
    """A UTF-8 file as a growing buffer of text, taken from the front."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._pending = b""
        self._started = False
        self._step = _READ
        self.buffer = ""

    def more(self) -> bool:
        """Read on.

        False at the end of the file. Each call reads twice as much, so huge records stay linear.
        """
        data = self._file.read(self._step)
        self._step = min(self._step * 2, LARGEST_ROW)
        if len(self.buffer) > LARGEST_ROW:
            raise bad_row(self._name, "the file", f"one record is longer than {LARGEST_ROW} characters.")
        raw = self._pending + data
        if not self._started:
            raw, self._started = raw.removeprefix(b"\xef\xbb\xbf"), True
        try:
            text, self._pending = raw.decode("utf-8"), b""
        except UnicodeDecodeError as error:
            if not data or len(raw) - error.start >= 4:
                at = self._file.tell() - len(raw) + error.start + 1
                raise bad_row(self._name, f"byte {at}", "not UTF-8.", "Save the file as UTF-8.") from error
            text, self._pending = raw[: error.start].decode("utf-8"), raw[error.start :]
        self.buffer += text
        return bool(data)

    def skip_space(self) -> str:
        """Drop white space and return the next character, "" at the end."""
        while True:
            self.buffer = self.buffer.lstrip(" \t\r\n")
            if self.buffer or not self.more():
                return self.buffer[:1]

    def take(self, length: int) -> None:
        """Drop what was used."""
        self.buffer, self._step = self.buffer[length:], _READ

    def rest(self) -> str:
        """Read to the end."""
        while self.more():
            pass
        return self.buffer


def _csv(file: BinaryIO, name: str) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(LARGEST_ROW)
    reader = csv.reader((line for _, line in _lines(file, name)), strict=True)
    header: list[str] = []
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise bad_row(name, place, f"not valid CSV: {error}.") from error
        if not cells:
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            continue
        if len(cells) != len(header):
            message = f"expected {len(header)} columns ({', '.join(header)}); got {len(cells)}."
            raise bad_row(name, place, message)
        yield place, dict(zip(header, cells, strict=True))


def _txt(file: BinaryIO, name: str) -> Iterator[tuple[str, Row]]:
    """Yield passages: paragraphs between blank lines, cut at a line end when very long."""
    begin, size, passage = 1, 0, [""]
    passage.clear()
    for number, line in _lines(file, name):
        if not line.strip() or size > PASSAGE:
            if passage:
                yield f"line {begin}", "".join(passage).strip("\r\n")
            passage, size = [], 0
        if line.strip():
            if not passage:
                begin = number
            passage.append(line)
            size += len(line)
    if passage:
        yield f"line {begin}", "".join(passage).strip("\r\n")


def _row(value: object, name: str, place: str) -> Row:
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, str):
        return value
    raise bad_row(name, place, f"expected an object or a text; got {type(value).__name__}.")


READERS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".txt": _txt,
}
