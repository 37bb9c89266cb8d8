"""Chunks keep their bytes from being cut until they are sent, within bounds."""

import os
from pathlib import Path

from helpers.patterns import pattern
from ingot.client import _cutting, _held, _streams
from ingot.client._progress import Reporter
from ingot.client._walk import SourceFile
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024


def test_a_window_takes_room_until_its_last_chunk_has_gone() -> None:
    room = _held.Room(10, patience=0)
    first = room.hold(100, b"abcdef")
    assert first is not None
    assert bytes(first.part(102, 3)) == b"cde"
    assert room.hold(0, b"12345") is None
    second = room.hold(0, b"1234")
    assert second is not None
    del first
    assert room.hold(0, b"12345") is not None


def test_a_file_that_is_gone_after_it_was_cut_is_sent_from_memory(tmp_path: Path) -> None:
    data = pattern("held", 9 * MIB)
    chunks = _chunks(tmp_path, data, _held.Room())
    os.unlink(tmp_path / "file")
    assert b"".join(_messages(chunks)) == data
    assert all(chunk.held is None for chunk in chunks)


def test_what_had_no_room_is_read_again(tmp_path: Path) -> None:
    data = pattern("held", 9 * MIB)
    chunks = _chunks(tmp_path, data, _held.Room(5 * MIB, patience=0))
    assert {chunk.held is None for chunk in chunks} == {True, False}
    assert b"".join(_messages(chunks)) == data


def test_a_few_bytes_do_not_hold_windows(tmp_path: Path) -> None:
    """One chunk of each window is missing at the server: the batch that waits for more holds nothing."""
    data = pattern("held", 21 * MIB)
    room = _held.Room(24 * MIB, patience=0)
    runs: dict[int, _streams.Batch] = {}
    for each in _chunks(tmp_path, data, room):
        runs.setdefault(id(each.held), []).append(each)
    sparse = [run[0] for run in runs.values()]
    dense = list(runs.values())[1]
    missing = sorted({id(each): each for each in [*sparse, *dense]}.values(), key=lambda each: each.offset)
    _streams._let_go_of_sparse(missing)
    assert {each.offset for each in missing if each.held} == {each.offset for each in dense}
    runs.clear()
    assert room.hold(0, bytes(15 * MIB)) is not None
    assert b"".join(_messages(missing)) == b"".join(
        data[each.offset : each.offset + each.length] for each in missing
    )


def _chunks(folder: Path, data: bytes, room: _held.Room) -> _streams.Batch:
    place = folder / "file"
    place.write_bytes(data)
    files = [SourceFile("file", str(place), len(data))]
    runs = _cutting.cut_files(files, None, Reporter(None), room)
    return [chunk for run in runs if not isinstance(run, _cutting.CutFile) for chunk in run]


def _messages(chunks: _streams.Batch) -> list[bytes]:
    with _streams._Reader() as reader:
        messages = [message for _, message in _streams._pieces(chunks, reader, MIB)]
    return [pb.PutChunksRequest.FromString(message).pieces.data for message in messages]
