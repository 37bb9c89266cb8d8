"""Write bad records of a file aside and the good ones into a cleaned copy, as they are read.

The copy has the good records byte for byte. What was put aside is a JSONL file with a line per record: row,
byte_offset, column and reason as in the finding, and the record's own bytes as `text`, or as `base64` where
they are no UTF-8.
"""

import base64
import gzip
import json
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


class Quarantine:
    """Takes the records of one file; a context manager, so that both files are closed.

    `cleaned` is written as gzip when its name ends with .gz. `aside` appears with the first bad record.
    """

    def __init__(self, cleaned: Path, aside: Path) -> None:
        self.cleaned = cleaned
        self.aside = aside
        self.good_records = 0
        self.bad_records = 0
        self._good: BinaryIO | gzip.GzipFile | None = None
        self._bad: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Write bytes of the cleaned copy: a good record with its line end, a header, punctuation."""
        if self._good is None:
            self.cleaned.parent.mkdir(parents=True, exist_ok=True)
            if self.cleaned.suffix == ".gz":
                self._good = gzip.GzipFile(self.cleaned, "wb", compresslevel=6, mtime=0)
            else:
                self._good = self.cleaned.open("wb")
        self._good.write(data)

    def good(self, data: bytes, count: int = 1) -> None:
        """Write good records, with whatever ends or separates them."""
        self.good_records += count
        self.write(data)

    def bad(
        self, record: bytes, *, reason: str, row: int, byte_offset: int, column: int | None = None
    ) -> None:
        """Write a bad record aside; `byte_offset` is that of the finding, in the file it came from."""
        self.bad_records += 1
        if self._bad is None:
            self.aside.parent.mkdir(parents=True, exist_ok=True)
            self._bad = self.aside.open("wb")
        line: dict[str, object] = {"row": row, "byte_offset": byte_offset, "column": column, "reason": reason}
        try:
            line["text"] = record.decode("utf-8")
        except UnicodeDecodeError:
            line["base64"] = base64.b64encode(record).decode("ascii")
        self._bad.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._good, self._bad):
            if file is not None:
                file.close()
