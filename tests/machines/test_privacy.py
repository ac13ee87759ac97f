"""Encrypted streams and everything that works on streams: forks, subscriptions, archives, exports, seals, replays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from eventstate import (
    ANY,
    At,
    ConfigurationError,
    CorruptionError,
    DecryptionError,
    DirectoryArchive,
    Erased,
    Event,
    InvalidInputError,
    Keyring,
    Machine,
    RetentionManager,
    RetentionPolicy,
    SchemaError,
    SealManager,
    StateMachinePersister,
    Store,
    StreamTransfer,
    Subscription,
    TimeTravel,
    open_store,
)
from eventstate.core.chain import genesis
from eventstate.core.documents import ENTRY, KEYRING, SUBJECT, Batch, Delete, Key, Put, Require
from eventstate.core.format import NewEvent, decode_entry, encode_entry, unborn
from eventstate.core.privacy import ENCRYPTED
from eventstate.log import keyring
from eventstate.machines import protecting
from eventstate.machines.protecting import ProtectedFold
from eventstate.runtime.blocking import drive
from eventstate.testing.conformance.privacy import CANARY, GUESTS, CheckedIn, Guest, Stayed, lodge, stored_bytes
from eventstate.testing.faults import FaultyStore, on_call

GOVERNOR = "shop"


class Inn:
    """Events in one store, keys in another, and what is made with both."""

    def __init__(self, url: str, keys_url: str) -> None:
        self.store = open_store(url)
        self.keys = open_store(keys_url)
        self.keyring = Keyring(self.keys, governor=GOVERNOR, fresh_seconds=0)

    def persister(self, **options: Any) -> StateMachinePersister:
        options = {"machines": [GUESTS], "snapshot_every": 3, **options}
        return StateMachinePersister(self.store, governor=GOVERNOR, keyring=self.keyring, **options)

    def lodge(self, id: str, name: str, nights: int = 5) -> None:
        persister = self.persister()
        persister.append(GUESTS, id, CheckedIn(name, f"{name}:{CANARY}"), expected=0)
        for number in range(nights):
            persister.append(GUESTS, id, Stayed(1), expected=number + 1)

    def close(self) -> None:
        self.store.close()
        self.keys.close()


@pytest.fixture(params=["memory", "sqlite"])
def inn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inn]:
    urls = ("memory://", "memory://")
    if request.param == "sqlite":
        urls = (f"sqlite:///{tmp_path}/store.db?durability=off", f"sqlite:///{tmp_path}/keys.db?durability=off")
    opened = Inn(*urls)
    yield opened
    opened.close()


def test_a_fork_is_about_those_that_its_parent_is_about(inn: Inn) -> None:
    inn.lodge("1", "ada")
    travel = TimeTravel(inn.store, governor=GOVERNOR, machines=[GUESTS], keyring=inn.keyring)
    forked = travel.fork(GUESTS, "1", to="2", at_version=4)
    assert forked.data == Guest("in", f";ada:{CANARY}", 3)
    assert inn.persister().append(GUESTS, "2", CheckedIn("grace", "g"), expected=1).data.mail.endswith(";g")
    assert CANARY.encode() not in drive(stored_bytes(inn.store))
    inn.keyring.erase("ada", "asked for it")
    cold = inn.persister()
    assert cold.load(GUESTS, "2").data == Guest("in", ";g", 0)
    first = next(iter(cold.history(GUESTS, "2")))
    assert first.action == "$forked"
    assert cold.validate_consistency().is_consistent
    assert travel.lineage(GUESTS, "2")[0].state_id == "guest-1"


def test_who_is_erased_while_a_fork_is_made_is_not_in_it(inn: Inn) -> None:
    """Whatever the fork has read before: the state, or whom it is about."""
    erased: set[str] = set()
    for reads in range(1, 20):
        name = f"ada{reads}"
        inn.lodge(f"{reads}", name, nights=2)
        before = inn.persister().load(GUESTS, f"{reads}")
        assert before.data.mail == f";{name}:{CANARY}"
        faulty = FaultyStore(inn.store)

        async def erase(name: str = name) -> None:
            erased.add(name)
            await inn.keyring.core.erase(name, "asked for it")

        faulty.before_get = on_call(reads, erase)
        travel = TimeTravel(cast("Store", faulty), governor=GOVERNOR, machines=[GUESTS], keyring=inn.keyring)
        travel.fork(GUESTS, f"{reads}", to=f"{reads}0")
        if name not in erased:
            break
        assert CANARY.encode() not in drive(stored_bytes(inn.store)), f"after {reads} reads"
        assert inn.persister().load(GUESTS, f"{reads}0").data.mail in ("", ";")
    else:
        raise AssertionError("the last one makes more reads than were tried")


def test_states_are_compared_as_what_they_are(inn: Inn) -> None:
    inn.lodge("1", "ada")
    travel = TimeTravel(inn.store, governor=GOVERNOR, machines=[GUESTS], keyring=inn.keyring)
    found = travel.diff(At(GUESTS, "1", version=2), At(GUESTS, "1"))
    assert len(found.changes) == 1
    assert travel.replay_check().divergences == []
    inn.keyring.erase("ada", "asked for it")
    assert travel.replay_check().divergences == []


def test_subscribers_get_typed_events_and_what_is_left_of_others(inn: Inn) -> None:
    inn.lodge("1", "ada", nights=1)
    inn.lodge("2", "grace", nights=1)
    inn.keyring.erase("ada", "asked for it")
    with Subscription(inn.persister()) as subscription:
        found = [(d.state_id, d.event) for d in subscription.deliveries(until_caught_up=True)]
    ada = [event for id, event in found if id == "guest-1"]
    assert isinstance(ada[0], Erased)
    assert ada[1] == Stayed(1)
    assert [event for id, event in found if id == "guest-2"] == [CheckedIn("grace", f"grace:{CANARY}"), Stayed(1)]


def test_what_is_parked_does_not_show_what_is_encrypted(inn: Inn) -> None:
    inn.lodge("1", "ada", nights=0)

    def fail(delivery: Any) -> None:
        raise ValueError(delivery.event.mail)

    with Subscription(inn.persister(), "mails", attempts=1) as subscription:
        subscription.run(fail, until_caught_up=True)
        (parked,) = subscription.parked()
        assert parked.problem == "ValueError"
        subscription.replay_parked(fail)
        assert [again.problem for again in subscription.parked()] == ["ValueError"]


def test_an_archive_holds_nothing_in_the_clear(inn: Inn, tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    for id, name in (("1", "ada"), ("2", "grace")):
        inn.lodge(id, name)
    retention = RetentionManager(inn.store, governor=GOVERNOR, machines=[GUESTS], keyring=inn.keyring, archive=archive)
    assert retention.prune(RetentionPolicy(keep_last=2)).total.pruned_events > 0
    reader = inn.persister(archive=archive)
    assert reader.load(GUESTS, "1", at_version=2).data == Guest("in", f";ada:{CANARY}", 1)
    packs = [path for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    assert packs
    assert not any(CANARY.encode() in path.read_bytes() for path in packs)
    assert CANARY.encode() not in drive(stored_bytes(inn.store))
    inn.keyring.erase("ada", "asked for it")
    cold = inn.persister(archive=archive)
    assert cold.load(GUESTS, "1", at_version=2).data == Guest("in", "", 1)
    assert cold.load(GUESTS, "2").data == Guest("in", f";grace:{CANARY}", 5)
    assert cold.load(GUESTS, "1").data == Guest("in", "", 5), "the base can't be read, but the archive can"
    alone = inn.persister()
    assert alone.load(GUESTS, "1").data == Guest("in", "", 2), "without the archive it begins with what is erased"
    assert alone.load(GUESTS, "2").data == Guest("in", f";grace:{CANARY}", 5)
    assert alone.validate_consistency().is_consistent
    assert cold.append(GUESTS, "1", Stayed(1), expected=6).data == Guest("in", "", 6)
    assert alone.load(GUESTS, "1").data == Guest("in", "", 6)


def test_an_export_carries_what_is_stored(inn: Inn, tmp_path: Path) -> None:
    inn.lodge("1", "ada")
    path = tmp_path / "export.jsonl"
    StreamTransfer(inn.store, governor=GOVERNOR).export_file(path)
    assert CANARY.encode() not in path.read_bytes()
    with open_store("memory://") as other:
        StreamTransfer(other, governor=GOVERNOR).import_file(path)
        copied = StateMachinePersister(other, governor=GOVERNOR, machines=[GUESTS], keyring=inn.keyring)
        assert copied.load(GUESTS, "1").data == Guest("in", f";ada:{CANARY}", 5)
        inn.keyring.erase("ada", "asked for it")
        assert copied.load(GUESTS, "1").data == Guest("in", "", 5)
        assert copied.validate_consistency().is_consistent


def test_seals_stay_right_after_an_erasure(inn: Inn) -> None:
    inn.lodge("1", "ada")
    SealManager(inn.store, governor=GOVERNOR).seal()
    inn.keyring.erase("ada", "asked for it")
    report = inn.persister().validate_consistency()
    assert report.is_consistent, report.findings
    inn.persister().rebuild(GUESTS, "1")
    assert inn.persister().validate_consistency().is_consistent
    assert not inn.persister().load(GUESTS, "1").recovered


def moved(store: Store, source: str, target: str) -> None:
    """Put the first event of a stream at the beginning of another one, with a chain that is right."""
    documents = drive(store.scan(ENTRY, GOVERNOR, id=source, limit=1)).documents
    event = decode_entry(documents[0], genesis(GOVERNOR, source)).events[0]
    body, _ = encode_entry(
        unborn(GOVERNOR, target),
        [NewEvent(event["type"], orjson.dumps(event["data"]))],
        token=store.runtime.unique(),
        at=1,
        clock={},
        metadata={},
    )
    key = Key(ENTRY, GOVERNOR, target, 1)
    drive(store.commit(Batch(store.runtime.unique(), [Delete(key, Require.ANY)])))
    drive(store.commit(Batch(store.runtime.unique(), [Put(key, body, Require.ABSENT)])))


def test_a_ciphertext_that_was_moved_is_an_error(inn: Inn) -> None:
    inn.lodge("1", "ada", nights=0)
    inn.lodge("2", "grace", nights=0)
    moved(inn.store, "guest-1", "guest-2")
    with pytest.raises(DecryptionError, match="moved"):
        inn.persister().load(GUESTS, "2", at_version=1)
    assert "guest-2" in {finding.state_id for finding in inn.persister().validate_consistency().findings}


def test_another_key_of_the_same_id_is_an_error(inn: Inn) -> None:
    inn.lodge("1", "ada")
    (id,) = inn.keyring.info("ada").key_ids
    key = Key("secret", GOVERNOR, id)
    body = orjson.loads(drive(inn.keys.get([key])).documents[key].body)
    forged = orjson.dumps({**body, "key": "A" * 43 + "="})
    drive(inn.keys.commit(Batch(inn.keys.runtime.unique(), [Put(key, forged, Require.ANY)])))
    fresh = Keyring(inn.keys, governor=GOVERNOR, fresh_seconds=0)
    reader = StateMachinePersister(inn.store, governor=GOVERNOR, machines=[GUESTS], keyring=fresh)
    with pytest.raises(DecryptionError, match="another key"):
        reader.load(GUESTS, "1")


def test_errors_do_not_show_what_is_encrypted(inn: Inn) -> None:
    loose: Machine[Any, Any] = Machine("guest", {}, events={"CheckedIn": dict}, subjects={"CheckedIn": "guest"})
    odd = StateMachinePersister(inn.store, governor=GOVERNOR, machines=[loose], keyring=inn.keyring)
    odd.save_state("guest-1", {}, expected=0)
    odd.append("guest-1", Event("CheckedIn", {"guest": "ada", "mail": {"no": CANARY}}), expected=ANY)
    with pytest.raises(SchemaError) as caught:
        inn.persister().load(GUESTS, "1", at_version=2)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_declarations_that_can_not_be() -> None:
    odd: list[tuple[dict[type | str, str], str]] = [
        ({"Nix": "guest"}, "no event of it"),
        ({Guest: "guest"}, "no event of it"),
        ({CheckedIn: ""}, "no path"),
        ({CheckedIn: "a..b"}, "no path"),
    ]
    for subjects, problem in odd:
        with pytest.raises(ConfigurationError, match=problem):
            Machine("guest", Guest(), lodge, subjects=subjects)


def test_the_states_of_a_stream_name_all_keys_that_they_need(inn: Inn) -> None:
    persister = inn.persister()
    persister.append(GUESTS, "1", CheckedIn("ada", "a"), Stayed(1), expected=0)
    persister.append(GUESTS, "1", CheckedIn("grace", "g"), expected=2)
    key = Key("head", GOVERNOR, "guest-1")
    head = orjson.loads(drive(inn.store.get([key])).documents[key].body)
    needed = {*inn.keyring.info("ada").key_ids, *inn.keyring.info("grace").key_ids}
    assert set(head["state"][ENCRYPTED]["keys"]) == needed
    assert head["state"][ENCRYPTED]["n"] == 3


def test_too_many_subjects_of_one_stream_are_refused(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protecting, "MAX_KEYS", 3)
    persister = inn.persister()
    for number in range(3):
        persister.append(GUESTS, "1", CheckedIn(f"guest {number}", "x"), expected=number)
    with pytest.raises(InvalidInputError, match="fewer people"):
        persister.append(GUESTS, "1", CheckedIn("guest 3", "x"), expected=3)
    assert inn.persister().load(GUESTS, "1").version == 3


def test_a_fold_that_has_met_nothing_dumps_nothing(inn: Inn) -> None:
    with pytest.raises(AssertionError):
        ProtectedFold(GUESTS, inn.keyring.core, "guest-1").dump(Guest())


def keys_of(store: Store, id: str) -> list[list[str]]:
    """The key ids that each event of a stream is encrypted under."""
    found: list[list[str]] = []
    for document in drive(store.scan(ENTRY, GOVERNOR, id=id)).documents:
        events = orjson.loads(document.body)["e"]
        found += [event["data"][ENCRYPTED]["keys"] for event in events if ENCRYPTED in event["data"]]
    return found


def test_a_new_key_is_taken_up_by_other_processes(inn: Inn) -> None:
    persister = inn.persister()
    persister.append(GUESTS, "1", CheckedIn("ada", "a"), expected=0)
    new = Keyring(inn.keys, governor=GOVERNOR, fresh_seconds=0).rotate("ada")
    persister.append(GUESTS, "1", CheckedIn("ada", "b"), expected=1)
    first, second = keys_of(inn.store, "guest-1")
    assert first != [new]
    assert second == [new]


def test_one_append_can_be_about_many_new_subjects(inn: Inn) -> None:
    events = [CheckedIn(f"guest {number}", "") for number in range(150)]
    assert inn.persister().append(GUESTS, "1", *events, expected=0).version == 150
    assert len({id for keys in keys_of(inn.store, "guest-1") for id in keys}) == 150


def test_keys_that_are_needed_now_make_no_room_for_others(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MAX_KEYS_AT_HAND", 10)
    for number in range(12):
        inn.lodge(str(number), f"guest {number}", nights=0)
    ids = [inn.keyring.info(f"guest {number}").key_ids[0] for number in range(12)]
    core = Keyring(inn.keys, governor=GOVERNOR, fresh_seconds=60).core
    for id in ids[:11]:
        drive(core.prepare([id]))
    drive(core.prepare([ids[0], ids[11]]))
    assert [core.has_fresh(id) for id in (ids[0], ids[1], ids[11])] == [True, False, True]


def test_keyrings_keep_one_subject_under_ids_that_tell_nothing(inn: Inn) -> None:
    inn.lodge("1", "ada", nights=0)
    with open_store("memory://") as keys:
        Keyring(keys, governor=GOVERNOR).encrypt("ada", 1, place="x")
        ids = [drive(store.scan(SUBJECT, GOVERNOR)).documents[0].key.id for store in (inn.keys, keys)]
    assert ids[0] != ids[1]


def test_a_keyring_that_has_lost_its_secret_makes_no_other_one(inn: Inn) -> None:
    inn.lodge("1", "ada", nights=0)
    drive(inn.keys.commit(Batch("t", [Delete(Key(KEYRING, GOVERNOR, "erasures"), Require.ANY)])))
    keyring = Keyring(inn.keys, governor=GOVERNOR)
    for call in (
        lambda: keyring.info("ada"),
        lambda: keyring.erase("ada", "asked for it"),
        lambda: keyring.rotate("ada"),
    ):
        with pytest.raises(CorruptionError, match="missing"):
            call()
    assert len(drive(inn.keys.scan(SUBJECT, GOVERNOR)).documents) == 1
