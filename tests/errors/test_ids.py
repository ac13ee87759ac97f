"""Ids that can't be used, with the reason, and odd ones that work everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import ANY, AppendTo, Event, InvalidIdError, Machine, StateSnapshot
from eventstate.core.ids import MAX_ID_BYTES
from tests.machines.world import World, datas

BAD: list[tuple[Any, str]] = [
    ("", "must not be empty"),
    ("x" * 1401, "takes 1,401 bytes encoded, the limit is 1,400"),
    ("é" * 701, "takes 1,402 bytes"),
    ("/" * 467, "takes 1,401 bytes"),
    ("a\nb", "control characters"),
    ("a\x00b", "control characters"),
    ("\x7f", "control characters"),
    ("a\ud800b", "lone surrogate"),
    (5, "must be text, not int"),
    (b"x", "must be text, not bytes"),
]

ODD = [
    "a/b",
    "/",
    "//",
    ":",
    "x:000000000001",
    ".",
    "..",
    "__x__",
    "__id1__",
    "%",
    "%2F",
    "100%",
    "-",
    "--a-",
    " ",
    " a ",
    "'; DROP TABLE heads; --",
    "a%00b",
    "\\",
    '"',
    "*?[]{}~",
    "é",
    "e\u0301",
    "茶",
    "😀",
    "ￜﾟ",
    "\u2028",
    "a\u00a0b",
    "İ",
    "x" * 1400,
    "/" * 466,
    "é" * 700,
    "0",
    "null",
]


@pytest.mark.parametrize(("value", "rule"), BAD, ids=range(len(BAD)))
def test_ids_that_cannot_be_used(world: World, value: Any, rule: str) -> None:
    persister = world()
    calls = [
        lambda: persister.save_state(value, 1, expected=0),
        lambda: persister.update_state(value, 1, expected=0),
        lambda: persister.append(value, Event("x", state=1), expected=0),
        lambda: persister.append_together(AppendTo(value, Event("x", state=1), expected=0)),
        lambda: persister.execute("doc", value, lambda state: Event("x", state=1)),
        lambda: persister.log_transition(None, StateSnapshot.new(value, 1), "x"),
        lambda: persister.save_state("doc", 1, expected=0, action=value),
        lambda: persister.append("doc", Event(value, state=1), expected=0),
        lambda: persister.load(value),
        lambda: persister.get_state(value),
        lambda: persister.exists(value),
        lambda: persister.delete_state(value, expected=ANY),
        lambda: list(persister.history(value)),
        lambda: persister.create_snapshot(value),
        lambda: persister.load_snapshot(value),
        lambda: persister.rebuild(value),
        lambda: persister.batch_get_states([value]),
        lambda: world(governor=value),
        lambda: Machine(value, 0),
    ]
    for index, call in enumerate(calls):
        with pytest.raises(InvalidIdError) as caught:
            call()
        assert rule in str(caught.value), index
        assert caught.value.value == value
        assert caught.value.what in {"state id", "id", "action", "event type", "governor", "machine name"}
    assert world.everything() == []


@pytest.mark.parametrize("id", ODD, ids=range(len(ODD)))
def test_odd_ids_work(world: World, id: str) -> None:
    persister = world(governor=id, snapshot_every=1)
    saved = persister.save_state(id, {"n": 1}, expected=0, action=id)
    persister.save_state(id + "~" if len(id) < 400 else "other", 1, expected=0)
    persister.append(id, Event(id, data={id: id}, state={"n": 2}), expected=saved)
    assert (persister.load(id).id, persister.load(id).data, persister.load(id).action) == (id, {"n": 2}, id)
    assert [t.action for t in persister.history(id)] == [id, id]
    assert datas(persister.history(id)) == [None, {id: id}]
    assert persister.load(id, at_version=1).data == {"n": 1}
    assert persister.list_governors() == [id]
    assert id in [state.id for state in persister.list_states(prefix=id).states]
    assert persister.load_snapshot(id).version == 2
    assert set(persister.batch_get_states([id])) == {id}
    assert persister.delete_state(id, expected=2) == 3
    assert not persister.exists(id)
    report = persister.validate_consistency()
    assert report.is_consistent
    assert report.total_streams == 2


def test_odd_ids_do_not_run_into_each_other(world: World) -> None:
    """Neither escapes nor normal forms nor numbers make two ids one, and lists come in the order of UTF-8."""
    persister = world()
    short = [id for id in ODD if len(id) < 100]
    for number, id in enumerate(short):
        for version in range(3):
            persister.save_state(id, [number, version], expected=version)
    assert [persister.load(id).data[0] for id in short] == list(range(len(short)))
    found: list[str] = []
    page = persister.list_states(limit=7)
    while True:
        found += [state.id for state in page.states]
        if page.next is None:
            break
        page = persister.list_states(limit=7, after=page.next)
    assert found == sorted(short, key=lambda id: id.encode())
    assert persister.validate_consistency().total_events == 3 * len(short)


def test_an_id_grown_too_long_by_its_machine_is_refused(world: World) -> None:
    machine = Machine("m" * 1000, 0, lambda state, event: state)
    persister = world(machines=[machine])
    with pytest.raises(InvalidIdError, match="1,401 bytes") as caught:
        persister.append(machine, "i" * 400, Event("x"), expected=0)
    assert caught.value.what == "state id"
    assert persister.append(machine, "i" * 399, Event("x"), expected=0).version == 1
    assert MAX_ID_BYTES == 1400
