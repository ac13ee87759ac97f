"""Document names: safe for Firestore, reversible, and in the port's order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.documents import ENTRY, HEAD, KINDS, NUMBERED, Key
from eventstate.errors import ConfigurationError, InvalidIdError, InvalidInputError
from eventstate.stores.firestore.paths import (
    COLLECTIONS,
    MAX_NUMBER,
    Paths,
    check_root,
    key_range,
    parse_segment,
    segment,
)

# Short, and full of what is escaped, reserved or next to it in order.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("_-.,/:!%$&'0aA~\x00\x1f\x7f\ud7ff\ue000\uffff\U00010000\U0010ffff"),
        st.characters(codec="utf-8"),
    ),
    min_size=1,
    max_size=8,
)
NUMBERS = st.one_of(st.sampled_from([0, 1, 9, 10, 99, MAX_NUMBER]), st.integers(0, MAX_NUMBER))
RESERVED = re.compile(r"__.*__", re.DOTALL)


def heads_and_entries() -> st.SearchStrategy[Key]:
    return st.one_of(
        st.builds(lambda text: Key(HEAD, "g", text), TEXTS),
        st.builds(lambda text, n: Key(ENTRY, "g", text, n), TEXTS, NUMBERS),
    )


@given(heads_and_entries())
def test_a_segment_is_allowed_and_gives_the_key_back(key: Key) -> None:
    text = segment(key)
    assert "/" not in text
    assert text not in (".", "..")
    assert not RESERVED.fullmatch(text)
    assert not any(ord(character) < 0x20 for character in text)
    assert parse_segment(key.kind, key.owner, text) == key


@given(st.lists(st.tuples(TEXTS, NUMBERS), min_size=2, max_size=12))
def test_segments_are_in_the_order_of_ids_then_numbers(places: list[tuple[str, int]]) -> None:
    wanted = sorted(set(places), key=lambda place: (place[0].encode(), place[1]))
    found = sorted(set(places), key=lambda place: segment(Key(ENTRY, "g", *place)).encode())
    assert found == wanted


@given(st.lists(TEXTS, min_size=2, max_size=12))
def test_segments_without_numbers_are_in_the_order_of_ids(ids: list[str]) -> None:
    assert sorted(set(ids), key=lambda text: segment(Key(HEAD, "g", text)).encode()) == sorted(set(ids), key=str.encode)


@given(heads_and_entries(), TEXTS, st.one_of(st.none(), TEXTS), st.one_of(st.none(), st.tuples(TEXTS, NUMBERS)))
def test_a_range_holds_exactly_what_a_scan_asks_for(
    key: Key, prefix: str, id: str | None, after: tuple[str, int] | None
) -> None:
    numbered = key.kind in NUMBERED
    last = None if after is None else Key(key.kind, "g", after[0], after[1] if numbered else 0)
    wanted = (
        key.id.startswith(prefix)
        and (id is None or key.id == id)
        and (last is None or (key.id.encode(), key.n) > (last.id.encode(), last.n))
    )
    assert is_in_range(key, prefix=prefix, id=id, after=last) == wanted


@given(heads_and_entries(), st.integers(0, 8))
def test_a_range_finds_a_key_by_each_of_its_prefixes_and_by_its_id(key: Key, length: int) -> None:
    assert is_in_range(key, prefix=key.id[:length], id=None, after=None)
    assert is_in_range(key, prefix=key.id[:length], id=key.id, after=None)
    assert not is_in_range(key, prefix="", id=None, after=key)


@pytest.mark.parametrize(
    ("after", "left"),
    [
        (Key(ENTRY, "g", "a", 10**12), ["b"]),
        (Key(ENTRY, "g", "a", -1), ["a", "a", "b"]),
        (Key(ENTRY, "g", "", 10**12), ["a", "a", "b"]),
        (Key(ENTRY, "g", "a", MAX_NUMBER - 1), ["a", "b"]),
    ],
)
def test_a_scan_goes_on_after_a_key_that_could_not_exist(after: Key, left: list[str]) -> None:
    keys = [Key(ENTRY, "g", "a", 0), Key(ENTRY, "g", "a", MAX_NUMBER), Key(ENTRY, "g", "b", 0)]
    assert [key.id for key in keys if is_in_range(key, prefix="", id=None, after=after)] == left


@given(TEXTS, st.one_of(st.none(), TEXTS), st.one_of(st.none(), st.tuples(TEXTS, NUMBERS)))
def test_the_bounds_of_a_range_are_allowed(prefix: str, id: str | None, after: tuple[str, int] | None) -> None:
    for kind in (HEAD, ENTRY):
        last = None if after is None else Key(kind, "g", after[0], after[1] if kind == ENTRY else 0)
        found = key_range(kind, id=id, prefix=prefix, after=last)
        for bound in (found.start, found.end) if found is not None else ():
            assert "/" not in bound
            assert bound not in (".", "..")
            assert not RESERVED.fullmatch(bound)


def is_in_range(key: Key, *, prefix: str, id: str | None, after: Key | None) -> bool:
    found = key_range(key.kind, id=id, prefix=prefix, after=after)
    if found is None:
        return False
    place, start, end = segment(key).encode(), found.start.encode(), found.end.encode()
    above = not start or place > start or (place == start and not found.start_exclusive)
    below = not end or place < end or (place == end and not found.end_exclusive)
    return above and below


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Key(ENTRY, "g", "a", MAX_NUMBER), Key(ENTRY, "g", "a-1", 0)),
        (Key(ENTRY, "g", "a", 9), Key(ENTRY, "g", "a", 10)),
        (Key(ENTRY, "g", "a", 1), Key(ENTRY, "g", "a!", 0)),
        (Key(HEAD, "g", "__"), Key(HEAD, "g", "____")),
        (Key(HEAD, "g", "__x__"), Key(HEAD, "g", "__x__\x00")),
    ],
)
def test_neighbours(earlier: Key, later: Key) -> None:
    assert segment(earlier) < segment(later)


def test_common_ids_stay_readable() -> None:
    paths = Paths(project="p", database="(default)", root="tenants/a")
    documents = "projects/p/databases/(default)/documents/tenants/a"
    assert paths.name(Key(HEAD, "shop", "order-ada_7")) == f"{documents}/governors/shop/states/order-ada_7"
    assert paths.name(Key(ENTRY, "shop", "order-42", 7)) == f"{documents}/governors/shop/events/order-42!000000000007"


def test_what_belongs_to_a_job_is_found_below_it() -> None:
    paths = Paths(project="p", database="(default)")
    documents = "projects/p/databases/(default)/documents"
    assert paths.name(Key(HEAD, "jobs/nightly", "build:0")) == f"{documents}/jobs/nightly/states/build:0"
    assert paths.name(Key(ENTRY, "jobs/a/b", "job", 1)) == f"{documents}/jobs/a.2Fb/events/job!000000000001"
    assert paths.name(Key(HEAD, "jobs", "job-1")) == f"{documents}/governors/jobs/states/job-1"
    assert paths.name(Key(HEAD, "jobs/", "x")) == f"{documents}/governors/jobs.2F/states/x"


@given(st.one_of(TEXTS, TEXTS.map("jobs/".__add__)))
def test_a_governor_is_found_by_the_name_of_its_document(owner: str) -> None:
    paths = Paths(project="p", database="d", root="a/b")
    assert paths.owner(paths.parent(owner)) == owner
    key = Key(ENTRY, owner, "x", 1)
    assert paths.entry_key(paths.name(key)) == key


@pytest.mark.parametrize("name", ["governors/jobs.2Fa", "others/a", "jobs/a.", "jobs/a/states/b", "jobs"])
def test_a_document_that_no_governor_is_rendered_as_is_none(name: str) -> None:
    paths = Paths(project="p", database="d")
    assert paths.owner(f"{paths.documents}/{name}") is None
    assert paths.entry_key(f"{paths.documents}/{name}/events/x!000000000001") is None


def test_every_kind_has_a_collection_of_its_own() -> None:
    assert set(COLLECTIONS) == KINDS
    assert len(set(COLLECTIONS.values())) == len(KINDS)


def test_an_entry_is_recognised_below_its_own_root_only() -> None:
    paths = Paths(project="p", database="d", root="a/b")
    key = Key(ENTRY, "g/1", "x.y", 3)
    assert paths.entry_key(paths.name(key)) == key
    assert Paths(project="p", database="d").entry_key(paths.name(key)) is None
    assert paths.entry_key(Paths(project="p", database="d").name(key)) is None
    assert paths.entry_key(f"{paths.documents}/governors/g/events/loose") is None


@pytest.mark.parametrize("id", ["", "\ud800", "x" * 1501, "/" * 501])
def test_an_unusable_id_is_refused(id: str) -> None:
    for key in (Key(HEAD, "g", id), Key(ENTRY, "g", id, 1), Key(HEAD, id, "x")):
        with pytest.raises(InvalidIdError):
            Paths(project="p", database="d").name(key)


def test_the_longest_ids_are_used() -> None:
    assert segment(Key(HEAD, "g", "x" * 1500)) == "x" * 1500
    assert len(segment(Key(ENTRY, "g", "x" * 1487, 1))) == 1500


@pytest.mark.parametrize(
    "key", [Key("nothing", "g", "x"), Key(HEAD, "g", "x", 1), Key(ENTRY, "g", "x", -1), Key(ENTRY, "g", "x", 10**12)]
)
def test_a_key_of_no_kind_is_refused(key: Key) -> None:
    with pytest.raises(InvalidInputError):
        Paths(project="p", database="d").name(key)


@pytest.mark.parametrize("root", ["a", "a/b/c", "/", "a//b/c", "a/__b__", "a/..", "a/" + "b" * 1000, "a/\ud800"])
def test_a_root_that_names_no_document_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError):
        check_root(root)


@pytest.mark.parametrize("root", ["", "a/b", "tenants/ä/stores/main"])
def test_a_root_keeps_the_parity_of_segments(root: str) -> None:
    check_root(root)
    for kind in KINDS:
        name = Paths(project="p", database="d", root=root).name(Key(kind, "o", "i"))
        assert len(name.split("/documents/")[1].split("/")) % 2 == 0
