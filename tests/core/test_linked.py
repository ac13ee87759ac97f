"""`linked` and `verified` judge every body alike; one tells, the other raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate.core.chain import genesis, linked, seal, verified
from eventstate.errors import CorruptionError

CONTEXT = genesis("g", "m-1")
BODY, DIGEST = seal(CONTEXT, b'{"t":"x","n":1,"e":[{"type":"a"}]}')


def judged(context: bytes, body: Any) -> bytes | None:
    try:
        return verified(context, body, "here")
    except CorruptionError:
        return None


def test_a_sound_body_has_its_digest() -> None:
    assert linked(CONTEXT, BODY) == DIGEST == judged(CONTEXT, BODY)


@pytest.mark.parametrize("body", [b"", b"{", BODY[:51], BODY.decode(), b"x" + BODY])
def test_what_is_no_sealed_body_has_none(body: Any) -> None:
    assert linked(CONTEXT, body) is None
    assert judged(CONTEXT, body) is None


@settings(max_examples=50)
@given(st.integers(0, len(BODY) * 8 - 1))
def test_every_flipped_bit_shows(bit: int) -> None:
    damaged = bytearray(BODY)
    damaged[bit // 8] ^= 1 << bit % 8
    assert linked(CONTEXT, bytes(damaged)) is None
    assert judged(CONTEXT, bytes(damaged)) is None


def test_nor_has_one_of_another_stream() -> None:
    assert linked(genesis("g", "m-2"), BODY) is None
