"""``eventstate import``: what becomes of rows, and what can't be imported."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eventstate import StateMachinePersister, open_store
from eventstate.cli.importing.files import EventFile
from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")

COLUMNS = ("--state-id", "id", "--action", "what")
CSV = """id,what,when,who,note
a,made,2024-05-01T10:00:00+02:00,kim,first
b,made,2024-05-01 08:30:00,,"two
lines, and a comma"
a,sold,2024-05-01T09:00Z,lee,

a,made,2024-05-01T07:00Z,kim,not in order of time
"""


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    file = tmp_path / "sales.csv"
    file.write_text(CSV)
    return file


def events(cli: Cli, id: str, *fields: str) -> list[Any]:
    return [tuple(event[field] for field in fields) for event in cli("history", id, "--json").lines]


def test_rows_become_events(cli: Cli, sales: Path) -> None:
    done = cli("import", str(sales), *COLUMNS, "--time", "when", "--changed-by", "who", "--json").json
    assert done["seconds"] > 0
    assert done["rows_per_second"] > 0
    assert {name: done[name] for name in ("file", "imported", "skipped", "total", "streams")} == {
        "file": str(sales),
        "imported": 4,
        "skipped": 0,
        "total": 4,
        "streams": 2,
    }
    assert events(cli, "a", "action", "to_state", "occurred_at") == [
        ("made", {"action": "made", "note": "first"}, "2024-05-01T08:00:00Z"),
        ("sold", {"action": "sold", "note": ""}, "2024-05-01T09:00:00Z"),
        ("made", {"action": "made", "note": "not in order of time"}, "2024-05-01T07:00:00Z"),
    ]
    assert [m.get("changed_by") for (m,) in events(cli, "a", "metadata")] == ["kim", "lee", "kim"]
    ((action, state, metadata, occurred),) = events(cli, "b", "action", "to_state", "metadata", "occurred_at")
    assert (action, state["note"], occurred) == ("made", "two\nlines, and a comma", "2024-05-01T08:30:00Z")
    assert "changed_by" not in metadata
    assert cli("show", "a", "--json").json["occurred_at"] == "2024-05-01T07:00:00Z"
    assert cli("verify", "--json").json["is_consistent"]


def test_at_time_asks_for_the_columns_time(cli: Cli, sales: Path) -> None:
    cli("import", str(sales), *COLUMNS, "--time", "when")
    assert cli("load", "a", "--at-time", "2024-05-01T08:30Z", "--json").json["version"] == 3
    assert cli("load", "b", "--at-time", "2024-05-01T08:30Z", "--json").json["version"] == 1
    cli("load", "b", "--at-time", "2024-05-01T08:29Z", code=3)


def test_columns_no_option_names_are_the_state(cli: Cli, sales: Path) -> None:
    cli("import", str(sales), *COLUMNS)
    data = cli("show", "b", "--json").json["data"]
    assert data == {"action": "made", "when": "2024-05-01 08:30:00", "who": "", "note": "two\nlines, and a comma"}


def test_a_second_time_nothing_is_imported(cli: Cli, sales: Path) -> None:
    cli("import", str(sales), *COLUMNS)
    again = cli("import", str(sales), *COLUMNS)
    assert again.out == f"{sales}: already imported, 4 rows\n"
    renamed = sales.with_name("renamed.csv")
    sales.rename(renamed)
    counts = cli("import", str(renamed), *COLUMNS, "--json").json
    assert (counts["imported"], counts["skipped"], counts["total"]) == (0, 4, 4)
    assert cli("stats", "--json").json["total_events"] == 4


def test_other_options_or_another_governor_are_another_import(cli: Cli, sales: Path) -> None:
    cli("import", str(sales), *COLUMNS)
    cli("import", str(sales), "--state-id", "what", "--action", "id")
    cli("import", str(sales), *COLUMNS, "--governor", "other")
    assert cli("stats", "--json").json["total_events"] == 8
    assert cli("stats", "--governor", "other", "--json").json["total_events"] == 4


def test_json_lines_keep_their_types(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {"id": 17, "what": "made", "n": 1, "x": 1.0, "ok": True, "none": None, "tree": {"a": [1, {"b": "é"}]}},
        {"id": 17, "what": "moved", "big": 2**53 + 1, "who": None},
    ]
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress("\n\n".join(map(json.dumps, rows)).encode()))
    cli("import", str(file), *COLUMNS, "--json")
    states = [state for (state,) in events(cli, "17", "to_state")]
    assert states[0] == {"action": "made", "n": 1, "x": 1.0, "ok": True, "none": None, "tree": {"a": [1, {"b": "é"}]}}
    assert isinstance(states[0]["x"], float)
    assert states[1] == {"action": "moved", "big": 2**53 + 1, "who": None}


def test_a_byte_order_mark_and_windows_line_ends(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(b"\xef\xbb\xbfid,what\r\na,made\r\n")
    cli("import", str(file), *COLUMNS)
    assert cli("show", "a", "--json").json["data"] == {"action": "made"}


def test_the_action_column_may_be_called_action(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("id,action\na,made\n")
    cli("import", str(file), "--state-id", "id", "--action", "action")
    assert cli("show", "a", "--json").json["data"] == {"action": "made"}


def test_a_file_without_rows(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("id,what\n")
    assert cli("import", str(file), *COLUMNS, "--json").json["total"] == 0
    assert cli("import", str(file), *COLUMNS).out.endswith("no rows\n")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("x.csv", "id,what\na,made\n,made\n", (), "line 3: column 'id' is empty"),
        ("x.csv", "id,what\na,\n", (), "line 2: column 'what' is empty"),
        ("x.csv", "id,what\na,made\nb\n", (), "line 3: 1 fields, but the header names 2"),
        ("x.csv", 'id,what,note\na,made,"two\nlines"\nb,made\n', (), "line 4: 2 fields"),
        ("x.csv", 'id,what\na,"made\n', (), "line 2: unexpected end of data"),
        ("x.csv", "id,what,when\na,made,soon\n", ("--time", "when"), "line 2: column 'when': 'soon' is no ISO 8601"),
        ("x.csv", "id,what,when\na,made,\n", ("--time", "when"), "line 2: column 'when' is empty"),
        ("x.csv", "id,what,when\na,made,0001-01-01T00:00+05:00\n", ("--time", "when"), "line 2: column 'when'"),
        ("x.csv", "id,id\n", (), "line 1: two columns are named 'id'"),
        ("x.csv", "", (), "is empty"),
        ("x.csv", "id,other\na,b\n", (), "line 1: no column 'what' for --action; there are 'id', 'other'"),
        ("x.csv", "id,other\n", (), "line 1: no column 'what' for --action; there are 'id', 'other'"),
        ("x.csv", "id,what,action\na,made,x\n", (), "column 'action' would hide"),
        ("x.csv", "id,what\na,$deleted\n", (), "line 2: action '$deleted'"),
        ("x.csv", "id,what\n\x01,made\n", (), "line 2: state id"),
        ("x.csv", b"id,what\na,m\xe4de\n", (), "not UTF-8"),
        ("x.csv.gz", gzip.compress(CSV.encode())[:-20], (), "bad gzip data"),
        ("x.csv.gz", b"plain", (), "bad gzip data"),
        ("x.txt", "id,what\n", (), "use .csv, .csv.gz, .jsonl, .jsonl.gz"),
        ("x.jsonl", '{"id": "a", "what": "made"}\n[1]\n', (), "line 2: not a JSON object"),
        ("x.jsonl", '{"id": "a", "what": "made"}\n{\n', (), "line 2: not JSON"),
        ("x.jsonl", '{"id": "a"}\n', (), "line 1: no column 'what'"),
        ("x.jsonl", '{"id": null, "what": "made"}\n', (), "line 1: column 'id' holds NoneType"),
        ("x.jsonl", '{"id": "a", "what": "made", "n": NaN}\n', (), "line 1: value at $.n"),
        ("x.jsonl", '{"id": "a", "what": "made", "n": 1%s}\n' % ("0" * 30), (), "line 1: value at $.n"),
        ("x.jsonl", '{"id": "a", "what": "made", "n": "\\ud800"}\n', (), "line 1: value at $.n"),
    ],
)
def test_rows_that_can_not_be_imported(
    cli: Cli, tmp_path: Path, name: str, content: str | bytes, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    failed = cli("import", str(file), *COLUMNS, *options, code=2)
    assert message in failed.err
    assert str(file) in failed.err
    assert failed.err.count("\n") == 1


def test_a_row_too_large_for_one_event(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"id": "a", "what": "made", "n": "x" * 1_000_000}))
    assert "line 1: the row of 'a' has 1,000," in cli("import", str(file), *COLUMNS, code=2).err


def test_a_bad_row_at_the_end_leaves_nothing_written(cli: Cli, tmp_path: Path) -> None:
    open_store(cli.url).close()
    file = tmp_path / "x.csv"
    file.write_text("id,what\n" + "".join(f"s{n % 500},made\n" for n in range(2000)) + ",made\n")
    assert "line 2002" in cli("import", str(file), *COLUMNS, code=2).err
    assert cli("stats", "--json").json["total_events"] == 0


def test_wrong_options(cli: Cli, sales: Path, tmp_path: Path) -> None:
    assert "same column" in cli("import", str(sales), "--state-id", "id", "--action", "id", code=2).err
    cli("import", str(sales), "--state-id", "id", code=2)
    assert "can't be read" in cli("import", str(tmp_path / "nix.csv"), *COLUMNS, code=2).err


def test_a_deleted_stream_takes_no_rows(cli: Cli, sales: Path) -> None:
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("b", 1, expected=0)
        persister.delete_state("b", expected=1)
    assert cli("import", str(sales), *COLUMNS, "--json", code=3).error["type"] == "StateDeletedError"
    assert cli("stats", "--json").json["total_events"] == 2


def test_rows_go_on_after_what_is_there(cli: Cli, sales: Path) -> None:
    with open_store(cli.url) as store:
        StateMachinePersister(store).save_state("a", {"old": True}, expected=0)
    cli("import", str(sales), *COLUMNS)
    assert events(cli, "a", "version", "action") == [(1, "saved"), (2, "made"), (3, "sold"), (4, "made")]
    assert cli("verify", "--json").json["is_consistent"]


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    file = tmp_path / "long.csv"
    file.write_text("id,what,n\n" + "".join(f"s{n * 7 % 1000},a{n % 3},{n}\n" for n in range(8000)))
    return file


def test_another_import_of_the_same_file_in_between_is_a_conflict(
    cli: Cli, long_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(1000))
    genuine = EventFile.check_unchanged

    def meanwhile(self: EventFile) -> None:
        if next(looks) == 3:
            monkeypatch.undo()
            other = cli("import", str(long_log), *COLUMNS, "--json").json
            assert other["skipped"] > 0
            assert other["skipped"] + other["imported"] == 8000
        genuine(self)

    monkeypatch.setattr(EventFile, "check_unchanged", meanwhile)
    failed = cli("import", str(long_log), *COLUMNS, "--json", code=4)
    assert failed.error["type"] == "TransactionConflictError"
    assert "long.csv is being imported elsewhere" in failed.error["message"]
    assert cli("stats", "--json").json["total_events"] == 8000
    check_order(cli)


def test_two_processes_import_each_row_once(cli: Cli, long_log: Path) -> None:
    command = [sys.executable, "-m", "eventstate", "import", str(long_log), *COLUMNS, "--url", cli.url]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    codes = sorted(process.wait(timeout=100) for process in both)
    assert codes in ([0, 4], [0, 0])
    assert cli("stats", "--json").json["total_events"] == 8000
    check_order(cli)


def check_order(cli: Cli) -> None:
    """Every row of the long log once, in file order within its stream."""
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store)
        for id in range(0, 1000, 50):
            found = [int(event.to_state["n"]) for event in persister.history(f"s{id}")]
            assert found == [n for n in range(8000) if n * 7 % 1000 == id]
        assert persister.validate_consistency().is_consistent


def test_a_file_that_changes_meanwhile_is_noticed(cli: Cli, long_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(1000))
    genuine = EventFile.check_unchanged

    def meanwhile(self: EventFile) -> None:
        if next(looks) == 3:
            with long_log.open("a") as file:
                file.write("s1,late,8000\n")
        genuine(self)

    monkeypatch.setattr(EventFile, "check_unchanged", meanwhile)
    assert "changed while it was read" in cli("import", str(long_log), *COLUMNS, code=2).err
    assert cli("stats", "--json").json["total_events"] < 8000


def test_a_refused_file_leaves_no_store(cli: Cli, store_file: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("case,act\n1,begun\n2,\n")
    assert "column 'act' is empty" in cli("import", str(log), "--state-id", "case", "--action", "act", code=2).err
    assert not store_file.exists()


def test_an_import_into_memory_is_refused(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("case,act\n1,begun\n")
    arguments = ["import", str(log), "--state-id", "case", "--action", "act", "--url", "memory://"]
    assert "would be gone at once" in cli.run(arguments, 2).err
