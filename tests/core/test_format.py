"""The bodies of entries, heads and snapshots: written, read back, and never taken for another's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.chain import genesis, key_context, seal
from eventstate.core.documents import Document, Key
from eventstate.core.format import (
    NO_STATE,
    Base,
    Image,
    NewEvent,
    Tip,
    decode_entry,
    decode_head,
    decode_snapshot,
    encode_entry,
    encode_head,
    encode_snapshot,
    entry_key,
    retokened_head,
    snapshot_key,
    token_in,
    unborn,
)
from eventstate.errors import CorruptionError, FormatError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
states = st.recursive(st.none() | st.integers(-5, 5) | texts, lambda s: st.lists(s) | st.dictionaries(texts, s))
clocks = st.dictionaries(texts.filter(bool), st.integers(1, 9), max_size=3)
metadatas = st.dictionaries(st.sampled_from(["by", "why"]), texts)
digests = st.binary(min_size=5, max_size=5).map(lambda b: genesis("x", b.hex()))

tips = st.builds(
    Tip,
    owner=texts.filter(bool),
    id=texts.filter(bool),
    revision=st.just("r"),
    version=st.integers(1, 10**6),
    digest=digests,
    at=st.integers(0, 2**53),
    clock=clocks,
    incarnation=st.integers(1, 3),
    deleted=st.booleans(),
    base=st.none() | st.tuples(st.integers(1, 9), digests).map(lambda t: Base(*t)),
    snapshots=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    last=st.integers(1, 10**6),
)
encoded = states.map(orjson.dumps)
own = st.none() | metadatas
events = st.lists(
    st.one_of(
        st.tuples(texts.filter(bool), encoded, st.integers(1, 3)).map(lambda t: NewEvent(t[0], data=t[1], schema=t[2])),
        st.tuples(texts.filter(bool), encoded, own).map(lambda t: NewEvent(t[0], state=t[1], metadata=t[2])),
        texts.filter(bool).map(lambda name: NewEvent(name, delta=b"{}")),
    ),
    min_size=1,
    max_size=4,
)
images = st.tuples(encoded, st.integers(0, 3), st.integers(1, 3), st.none() | texts).map(lambda t: Image(*t))


def document(key: Key, body: bytes) -> Document:
    return Document(key, body, "r", 0)


@given(tips, events, metadatas)
def test_entries(tip: Tip, new: list[NewEvent], metadata: dict[str, str]) -> None:
    body, digest = encode_entry(tip, new, token="tok", at=7, clock={"n": 1}, metadata=metadata)
    key = entry_key(tip, tip.version + len(new))
    entry = decode_entry(document(key, body), tip.digest)
    assert (entry.version, entry.first) == (tip.version + len(new), tip.version + 1)
    assert (entry.token, entry.at, entry.clock, entry.digest) == ("tok", 7, {"n": 1}, digest)
    for number, (stored, given_event) in enumerate(zip(entry.each(), new, strict=True), entry.first):
        assert (stored.version, stored.type, stored.schema) == (number, given_event.type, given_event.schema)
        assert stored.metadata == {**metadata, **(given_event.metadata or {})}
        for name, text in (("data", given_event.data), ("state", given_event.state), ("delta", given_event.delta)):
            assert (name in stored.body) == (text is not None)
            assert text is None or stored.body[name] == orjson.loads(text)
    assert token_in(body) == "tok"


@given(tips, st.none() | images)
def test_heads(tip: Tip, image: Image | None) -> None:
    body = encode_head(tip, image, token="tok", action="did", metadata={"by": "kim"})
    head, state = decode_head(document(tip.key, body))
    assert head.tip == tip
    assert (head.token, head.action, head.metadata) == ("tok", "did", {"by": "kim"})
    if image is None:
        assert (head.image, state) == (None, NO_STATE)
    else:
        assert head.image == image._replace(state=None)
        assert state == orjson.loads(image.state or b"")


@given(tips, states)
def test_snapshots(tip: Tip, state: Any) -> None:
    body = encode_snapshot(tip, Image(orjson.dumps(state), 2, 3, "label"), token="tok")
    snapshot, found = decode_snapshot(document(snapshot_key(tip.owner, tip.id, tip.version), body))
    assert (snapshot.version, snapshot.digest, snapshot.at) == (tip.version, tip.digest, tip.at)
    assert (snapshot.image, found) == (Image(None, 2, 3, "label"), state)


TIP = unborn("shop", "order-1")._replace(version=3, last=3, digest=genesis("a", "b"), revision="r")


def test_a_null_state_is_a_state_and_none_is_not() -> None:
    with_null = encode_head(TIP, Image(b"null", 1, 1), token="t", action="", metadata={})
    without = encode_head(TIP, Image(None, 1, 1), token="t", action="", metadata={})
    assert decode_head(document(TIP.key, with_null))[1] is None
    assert decode_head(document(TIP.key, without))[1] is NO_STATE


def test_documents_are_refused_at_every_other_place() -> None:
    event = [NewEvent("x", state=b"1")]
    entry, digest = encode_entry(TIP, event, token="t", at=1, clock={}, metadata={})
    head = encode_head(TIP, Image(b"1", 1, 1), token="t", action="", metadata={})
    snapshot = encode_snapshot(TIP, Image(b"1", 1, 1), token="t")
    others = [TIP._replace(id="order-2"), TIP._replace(owner="other")]
    for tip in others:
        with pytest.raises(CorruptionError, match=tip.id):
            decode_head(document(tip.key, head))
        with pytest.raises(CorruptionError):
            decode_snapshot(document(snapshot_key(tip.owner, tip.id, 3), snapshot))
    with pytest.raises(CorruptionError):
        decode_snapshot(document(snapshot_key("shop", "order-1", 4), snapshot))
    with pytest.raises(CorruptionError):
        decode_snapshot(document(TIP.key, head))
    with pytest.raises(CorruptionError):
        decode_head(document(TIP.key, snapshot))
    with pytest.raises(CorruptionError):  # after another entry
        decode_entry(document(entry_key(TIP, 4), entry), digest)
    with pytest.raises(CorruptionError, match="it holds version 4"):  # under another number
        decode_entry(document(entry_key(TIP, 5), entry), TIP.digest)


def test_the_first_entry_is_bound_to_its_stream_and_governor() -> None:
    one = unborn("shop", "order-1")
    body, _ = encode_entry(one, [NewEvent("x")], token="t", at=1, clock={}, metadata={})
    assert decode_entry(document(entry_key(one, 1), body), one.digest).version == 1
    for other in (unborn("shop", "order-2"), unborn("other", "order-1")):
        with pytest.raises(CorruptionError):
            decode_entry(document(entry_key(other, 1), body), other.digest)


def test_a_retokened_head_says_the_same_under_another_token() -> None:
    body = encode_head(TIP, Image(b'{"a":1}', 1, 1), token="t", action="x", metadata={"by": "k"})
    again = retokened_head(document(TIP.key, body), "other")
    assert again != body
    before, after = decode_head(document(TIP.key, body)), decode_head(document(TIP.key, again))
    assert after == (before[0]._replace(token="other"), before[1])
    with pytest.raises(CorruptionError):
        retokened_head(document(TIP.key, body[:-1] + b" "), "other")


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"t":5}', b"\xff"])
def test_a_body_without_a_token(body: bytes) -> None:
    assert token_in(body) is None


def test_a_body_of_a_later_format_is_refused_and_not_taken_for_damage() -> None:
    key = Key("head", "g", "s")
    body, _ = seal(key_context(key), orjson.dumps({"t": "x", "f": 2, "unheard": "of"}))
    with pytest.raises(FormatError) as caught:
        decode_head(Document(key, body, "r", 1))
    assert (caught.value.found, caught.value.supported) == (2, 1)
    assert "upgrade eventstate" in str(caught.value)
