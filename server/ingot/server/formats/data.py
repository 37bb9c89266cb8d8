"""The formats of data: JSON Lines, JSON, CSV, plain text."""

import re

from ingot.server.formats import csv_file, json_array, jsonl, txt
from ingot.server.formats.seam import Family, Format, Head

# A whole object in the first line and the beginning of one in the next.
_TWO_OBJECTS = re.compile(rb'\s*\{[^\r\n]*\}[ \t\r]*\n\s*\{\s*["}]')


def _is_lines(head: Head) -> bool:
    return _TWO_OBJECTS.match(head.data) is not None


def _is_array(head: Head) -> bool:
    text = head.data.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text[:1] == b"[" and text[1:].lstrip(b" \t\r\n")[:1] == b"{"


FORMATS = (
    Format(jsonl.NAME, Family.DATA, jsonl.check, (".jsonl", ".ndjson"), (), _is_lines, ("json", "csv")),
    Format(json_array.NAME, Family.DATA, json_array.check, (".json",), (), _is_array, ("jsonl", "csv")),
    Format(csv_file.NAME, Family.DATA, csv_file.check, (".csv", ".tsv", ".tab")),
    Format(txt.NAME, Family.DATA, txt.check, (".txt", ".text")),
)
