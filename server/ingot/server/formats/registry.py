"""Which check a file gets: by its name and by how it begins.

A file whose content has the magic number of another format than its name says is reported (`format_mismatch`)
and checked as what it is: renaming a pickle to `.jsonl` does not get it past the scanner. A file without a
format gets the plain check. Formats of data are in `data.py`, those of models in `model_*.py`; each such
module has a FORMATS tuple that is listed here.
"""

from dataclasses import dataclass

from ingot.server.formats import (
    data,
    model_gguf,
    model_h5,
    model_keras,
    model_numpy,
    model_onnx,
    model_pickle,
    model_safetensors,
    model_torch,
    plain,
)
from ingot.server.formats.seam import Format, Head

FORMATS: tuple[Format, ...] = (
    *data.FORMATS,
    *model_safetensors.FORMATS,
    *model_gguf.FORMATS,
    *model_onnx.FORMATS,
    *model_h5.FORMATS,
    *model_keras.FORMATS,
    *model_numpy.FORMATS,
    *model_pickle.FORMATS,
    *model_torch.FORMATS,
    *plain.FORMATS,
)


@dataclass(frozen=True, slots=True)
class Match:
    """The format of a file; `named` is what its name says, when its content says otherwise."""

    format: Format
    named: Format | None = None


def find(path: str, head: Head, formats: tuple[Format, ...] = FORMATS) -> Match:
    """Return the format of a file by its path and its beginning; the plain one when nothing fits."""
    named = by_name(path, formats)
    seen = [each for each in formats if _may_be(each, named) and each.recognises(head)]
    for each in seen:
        if each in named:
            return Match(each)
    if seen:
        return Match(seen[0], named[0] if named else None)
    if named:
        return Match(named[0])
    return Match(plain.unknown(path))


def by_name(path: str, formats: tuple[Format, ...] = FORMATS) -> list[Format]:
    """Return the formats that files of this name have, the first one first."""
    name = path.rpartition("/")[2].lower()
    whole = [each for each in formats if name in each.names]
    return whole or [each for each in formats if name.endswith(each.extensions)]


def _may_be(format: Format, named: list[Format]) -> bool:
    return not format.rivals or format in named or any(each.name in format.rivals for each in named)
