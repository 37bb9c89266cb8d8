"""One of several processes that use a cache of files at once; imports no more than that takes."""

import os
import pathlib

from helpers.patterns import pattern
from ingot.client._file_cache import FileCache
from ingot.client._journal import Cut
from ingot.client._manifest import TreeFile
from ingot.content import chunking, digests


def file_of(content: bytes) -> TreeFile:
    """Return what a manifest says of a file with this content."""
    chunks = [(each.digest, each.length) for each in chunking.cut_bytes(content)]
    cut = Cut(len(content), digests.segment_bytes(chunks), "cdc")
    return TreeFile("f", cut, cut.root())


def put_and_prune(folder: str, source: str, number: int) -> None:
    """Put files in, read them and remove what is too much, thirty times."""
    cache = FileCache(pathlib.Path(folder))
    place = pathlib.Path(source) / str(number)
    place.mkdir()
    for turn in range(30):
        content = pattern(str(turn % 3), 50_000)
        (place / "f").write_bytes(content)
        cache.keep("t", [file_of(content)], place)
        with cache.reading(file_of(content)) as found:
            assert found is None or os.pread(found, 50_000, 0) == content
        cache.prune(100_000)
