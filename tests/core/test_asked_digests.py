"""Digests of a question: looked up once each, answered as often as they were asked."""

import random

import pytest

from ingot.content.digests import chunk_digest
from ingot.server.core import asked_digests

A, B, C = (chunk_digest(each) for each in (b"a", b"b", b"c"))


def test_what_repeats_is_looked_up_once() -> None:
    assert asked_digests.distinct(B * 8192) == B
    assert asked_digests.distinct(B + A + B + C + A) == B + A + C
    assert asked_digests.distinct(A + B) == A + B
    assert asked_digests.distinct(b"") == b""


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 100])
def test_the_answer_has_a_bit_for_each_in_the_order_asked(length: int) -> None:
    names = random.Random(length).choices((A, B, C), k=length)
    packed = b"".join(names)
    asked = asked_digests.distinct(packed)
    here = [at for at in range(len(asked) // 32) if asked[at * 32 : (at + 1) * 32] in (A, C)]
    bits = int.from_bytes(asked_digests.missing(packed, asked, here), "little")
    assert [bits >> at & 1 for at in range(length)] == [int(each == B) for each in names]
    assert bits >> length == 0


def test_without_repeats_the_answer_is_the_same_bitmap() -> None:
    packed = b"".join(chunk_digest(b"%d" % number) for number in range(11))
    assert asked_digests.missing(packed, packed, [0, 9]) == bytes([0b11111110, 0b00000101])
