"""Digests over stored bytes: every change shows, and a document fits only where it was written."""

from __future__ import annotations

import base64
import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.chain import digest, genesis, key_context, seal, stored_digest, unseal
from eventstate.core.documents import Key
from eventstate.errors import CorruptionError

members = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.integers(-9, 9) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    min_size=1,
    max_size=5,
).map(orjson.dumps)


@given(st.binary(), members)
def test_what_was_sealed_is_unsealed(context: bytes, text: bytes) -> None:
    body, own = seal(context, text)
    assert unseal(context, body, "here") == (text, own)
    assert stored_digest(body) == own
    assert orjson.loads(body) == {"h": own.decode(), **orjson.loads(text)}


def test_every_single_bit_counts() -> None:
    body, _ = seal(b"context", b'{"t":"token","n":12}')
    for place in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            with pytest.raises(CorruptionError, match="do not match their digest"):
                unseal(b"context", bytes(changed), "here")


@given(st.integers(0, 80), st.integers(0, 80))
def test_cut_and_grown_bodies_show(start: int, end: int) -> None:
    body, _ = seal(b"context", b'{"t":"token","n":12}')
    cut = body[start : len(body) - end]
    for changed in (cut, body + b" ", b" " + body, b"", body + body):
        if changed != body:
            with pytest.raises(CorruptionError):
                unseal(b"context", changed, "here")


def test_a_body_fits_only_its_own_context() -> None:
    contexts = [
        key_context(Key(*parts))
        for parts in [
            ("head", "g", "s"),
            ("head", "g", "s", 1),
            ("snapshot", "g", "s", 1),
            ("head", "gs", ""),
            ("head", "", "gs"),
            ("head", "g", "s1"),
            ("head", "g\x00s", ""),
        ]
    ] + [genesis("g", "s"), genesis("gs", ""), genesis("s", "g")]
    assert len(set(contexts)) == len(contexts)
    for mine in contexts:
        body, _ = seal(mine, b'{"n":1}')
        for other in contexts:
            if other != mine:
                with pytest.raises(CorruptionError, match="here"):
                    unseal(other, body, "here")


def test_the_digest_is_sha256_as_the_format_says() -> None:
    body, own = seal(b"before", b'{"t":"x"}')
    expected = base64.b64encode(hashlib.sha256(b'before"t":"x"}').digest())[:43]
    assert own == digest(b"before", b'"t":"x"}') == expected
    assert body == b'{"h":"' + expected + b'","t":"x"}'


def test_text_in_the_place_of_bytes_is_corrupt() -> None:
    body, _ = seal(b"context", b'{"n":1}')
    with pytest.raises(CorruptionError):
        unseal(b"context", body.decode(), "here")  # type: ignore[arg-type]
