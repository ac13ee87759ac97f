"""Writers that are killed again and again while they append to one store, and what is left of their work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from eventstate.cli.demo.audit import Audit, audit
from eventstate.cli.demo.killing import Herd, start
from eventstate.cli.demo.ledger import read_ledgers
from eventstate.cli.demo.orders import ORDERS
from eventstate.cli.demo.report import Figure, Report, count, fault
from eventstate.cli.demo.writer import GOVERNOR, SNAPSHOT_EVERY
from eventstate.machines.persister import StateMachinePersister
from eventstate.stores.url import open_store

WRITERS = 3

Tick = Callable[[str, float], None]
"""Told what is going on, and the seconds gone."""


def crash_writers(folder: Path, seconds: float, random: Random, tick: Tick) -> Report:
    """Let writers append and kill them for so long, then audit the store."""
    url = f"sqlite:///{folder / 'orders.db'}"
    ledgers = [folder / f"writer-{slot}.ledger" for slot in range(WRITERS)]

    def start_writer(slot: int, number: int) -> subprocess.Popen[bytes]:
        seed, parent = str(random.random()), str(os.getpid())
        return start("eventstate.cli.demo.writer", url, str(ledgers[slot]), f"w{slot}.{number}", seed, parent)

    acknowledged = Counter(ledgers)
    herd = Herd(slots=WRITERS, start=start_writer, random=random)
    herd.run(seconds, lambda gone: tick(f"{herd.kills} kills, {acknowledged.total():,} acknowledged appends", gone))
    records = read_ledgers(ledgers)
    with open_store(url) as store:
        persister = StateMachinePersister(store, governor=GOVERNOR, machines=[ORDERS], snapshot_every=SNAPSHOT_EVERY)
        result = audit(persister, records, random, lambda doing: tick(doing, seconds))
    return _report(herd, result, seconds)


class Counter:
    """Counts acknowledgements while ledgers grow."""

    def __init__(self, ledgers: Sequence[Path]) -> None:
        self._ledgers = ledgers
        self._read = dict.fromkeys(ledgers, 0)
        self._count = 0

    def total(self) -> int:
        """As of now, from what was written since the last call."""
        for path in self._ledgers:
            if path.exists():
                with path.open("rb") as file:
                    file.seek(self._read[path])
                    text = file.read()
                self._read[path] += len(text)
                self._count += text.count(b"a w")
        return self._count


def _report(herd: Herd, result: Audit, seconds: float) -> Report:
    figures = (
        count("kills", f"kills (SIGKILL) of {WRITERS} writer processes", herd.kills),
        Figure("seconds", "seconds of it", round(seconds, 1)),
        count("acknowledged", "appends acknowledged", result.acknowledged),
        count("refused", "appends refused: another writer was faster", result.refused),
        count("in_flight", "appends cut short by a kill", result.in_flight),
        count("committed_in_flight", "  of these committed, as the log shows", result.committed_in_flight),
        Figure("recover_seconds", "seconds to recover every order", round(result.recover_seconds, 3)),
        count("streams", "orders rebuilt from their first event", result.streams),
        count("events", "  events replayed", result.events),
        Figure("rebuild_seconds", "  seconds for it", round(result.rebuild_seconds, 3)),
        count("compared", "acknowledged states found as they were", result.compared),
        count("sampled", "  of these loaded alone at their version", result.sampled),
        fault("lost", "acknowledged appends lost", result.lost),
        fault("different", "acknowledged states that differ", result.different),
        fault("duplicates", "appends found twice", result.duplicates),
        fault("gaps", "versions missing", result.gaps),
        fault("unasked", "events nobody asked for, or refused ones", result.unasked),
        fault("unlike", "orders unlike their replayed log", result.unlike),
        fault("lost_states", "orders that recovery could not bring back", result.lost_states),
        fault("findings", "findings of verify", result.findings),
        fault("failed_writers", "writers that failed by themselves", len(herd.died)),
    )
    return Report(title="crashing writers", figures=figures)
