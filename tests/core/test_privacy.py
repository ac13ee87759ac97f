"""Encrypted values: what opens them, and that nothing else does."""

from __future__ import annotations

import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.privacy import (
    ENCRYPTED,
    KEY_BYTES,
    NONCE_BYTES,
    Envelope,
    Place,
    decrypt,
    encode_envelope,
    encrypt,
    envelope_of,
    is_encrypted,
    named_keys,
    require_cipher,
    secret_of,
)
from eventstate.errors import ConfigurationError, DecryptionError

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
ids = st.lists(st.text("abcXYZ019-_", min_size=22, max_size=22), min_size=1, max_size=4, unique=True)
places = st.builds(
    Place,
    st.sampled_from(["event", "state"]),
    st.text(max_size=8),
    st.text(max_size=8),
    st.integers(0, 9),
    st.text(max_size=8),
    st.integers(1, 3),
)


@given(st.binary(max_size=200), st.lists(keys, min_size=1, max_size=4), nonces, places, ids)
def test_what_was_encrypted_is_decrypted(
    text: bytes, held: list[bytes], nonce: bytes, place: Place, names: list[str]
) -> None:
    secret, bound = secret_of(held), place.bound(names)
    envelope = Envelope(tuple(names), place.version, encrypt(text, secret, nonce, bound))
    stored = encode_envelope(envelope)
    assert is_encrypted(orjson.loads(stored))
    assert envelope_of(orjson.loads(stored), "here") == envelope
    assert named_keys(b'{"t":"x","e":[{"data":' + stored + b"}]}") == set(names)
    assert decrypt(envelope.data, secret, bound, "here") == text


@given(st.binary(max_size=50), keys, nonces, places, places, ids)
def test_it_opens_in_its_own_place_only(
    text: bytes, key: bytes, nonce: bytes, place: Place, other: Place, names: list[str]
) -> None:
    secret = secret_of([key])
    data = encrypt(text, secret, nonce, place.bound(names))
    if place != other:
        with pytest.raises(DecryptionError, match="here"):
            decrypt(data, secret, other.bound(names), "here")
    with pytest.raises(DecryptionError):
        decrypt(data, secret, place.bound([*names, "one more"]), "here")


@given(st.binary(min_size=1, max_size=50), st.lists(keys, min_size=2, max_size=4, unique=True), nonces, places)
def test_every_one_of_its_keys_is_needed(text: bytes, held: list[bytes], nonce: bytes, place: Place) -> None:
    data = encrypt(text, secret_of(held), nonce, place.bound(()))
    for left_out in range(len(held)):
        fewer = held[:left_out] + held[left_out + 1 :]
        with pytest.raises(DecryptionError):
            decrypt(data, secret_of(fewer), place.bound(()), "here")


@given(st.binary(max_size=50), keys, nonces, places, st.data())
def test_a_flipped_bit_shows(text: bytes, key: bytes, nonce: bytes, place: Place, draw: st.DataObject) -> None:
    secret = secret_of([key])
    data = bytearray(encrypt(text, secret, nonce, place.bound(())))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(DecryptionError):
        decrypt(bytes(data), secret, place.bound(()), "here")


@pytest.mark.parametrize(
    "plain",
    [
        {ENCRYPTED: None},
        {ENCRYPTED: {}},
        {ENCRYPTED: {"keys": ["a"], "n": 1}},
        {ENCRYPTED: {"keys": 5, "n": 1, "data": "AAAA"}},
        {ENCRYPTED: {"keys": ["a"], "n": 1, "data": "A"}},
    ],
)
def test_what_is_no_envelope_is_refused(plain: object) -> None:
    with pytest.raises(DecryptionError, match="another form"):
        envelope_of(plain, "here")


def test_text_that_only_looks_like_one_names_no_keys() -> None:
    text = orjson.dumps({"note": '"$encrypted":{"keys":["a"]'})
    assert named_keys(text) == set()


def test_what_encrypts_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require_cipher()
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match=r"eventstate\[crypto\]"):
        require_cipher()


def test_a_text_too_short_for_a_tag_is_refused() -> None:
    with pytest.raises(DecryptionError):
        decrypt(b"short", secret_of([b"k" * KEY_BYTES]), b"", "here")
