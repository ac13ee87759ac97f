"""After the crashes: is every acknowledged append there, once, as it was written?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from eventstate.cli.demo.ledger import Records, digest_of
from eventstate.cli.demo.orders import ORDERS
from eventstate.machines.persister import StateMachinePersister

SAMPLE = 200
"""So many acknowledged states are also loaded at their version one by one."""


@dataclass(slots=True, kw_only=True)
class Audit:
    """Counts; all but the first group must be 0.

    Attributes:
        acknowledged: appends that returned to their writer.
        refused: appends that met a version conflict.
        committed_in_flight: appends whose writer was killed before it knew, and which are there.
        events, streams: what the log holds.
        compared: acknowledged states found equal in the rebuilt history; ``sampled`` of them were also loaded alone.
        lost: acknowledged, but not there.
        different: there, but another state than the one acknowledged.
        duplicates: there more than once.
        gaps: versions missing from a stream.
        unasked: there, though its writer was told that it is not, or though nobody ever meant it.
        unlike: streams whose current state is not what its whole log leads to.
        findings: what verification objects to; lost_states: what recovery could not bring back.
    """

    acknowledged: int = 0
    refused: int = 0
    in_flight: int = 0
    committed_in_flight: int = 0
    streams: int = 0
    events: int = 0
    compared: int = 0
    sampled: int = 0
    recover_seconds: float = 0.0
    rebuild_seconds: float = 0.0
    lost: int = 0
    different: int = 0
    duplicates: int = 0
    gaps: int = 0
    unasked: int = 0
    unlike: int = 0
    findings: int = 0
    lost_states: int = 0

    @property
    def faults(self) -> int:
        return (
            self.lost + self.different + self.duplicates + self.gaps + self.unasked + self.unlike
            + self.findings + self.lost_states
        )  # fmt: skip


def audit(persister: StateMachinePersister, records: Records, random: Random, tick: Callable[[str], None]) -> Audit:
    """Recover, rebuild every stream from the first event, and compare it with what the writers wrote down."""
    result = Audit(
        acknowledged=len(records.named("acknowledged")),
        refused=len(records.named("refused")),
        in_flight=len(records.in_flight),
        lost_states=records.lost_at_start,
    )
    tick("recovering")
    started = time.monotonic()
    recovered = [item for item in persister.recover() if item.status != "lost" or _count_lost(result)]
    result.recover_seconds = time.monotonic() - started
    result.streams = len(recovered)
    tick("rebuilding every stream from its first event")
    started = time.monotonic()
    stored = _history(persister, [item.id for item in recovered], result)
    result.rebuild_seconds = time.monotonic() - started
    tick("comparing with what the writers wrote down")
    _compare(records, stored, result)
    _sample(persister, records, stored, random, result)
    tick("verifying")
    result.findings = len(persister.validate_consistency().findings)
    return result


def _count_lost(result: Audit) -> bool:
    result.lost_states += 1
    return False


Stored = dict[str, tuple[str, int, str]]


def _history(persister: StateMachinePersister, ids: list[str], result: Audit) -> Stored:
    """Every event by the name that its writer gave it: stream, version and the digest of the state after it."""
    stored: Stored = {}
    for id in ids:
        expected, digest = 1, ""
        for event in persister.history(id):
            result.gaps += event.version != expected
            expected = event.version + 1
            result.events += 1
            digest = digest_of(ORDERS.dump(event.to_state))
            name = event.metadata.correlation_id or ""
            result.duplicates += name in stored
            stored[name] = (id, event.version, digest)
        # Loaded first: a rebuild would mend a head that is wrong.
        states = (persister.load(id), persister.rebuild(id, full=True))
        result.unlike += any(digest_of(ORDERS.dump(state.data)) != digest for state in states)
    return stored


def _compare(records: Records, stored: Stored, result: Audit) -> None:
    for intent in records.named("acknowledged"):
        found = stored.get(intent.name)
        if found is None:
            result.lost += 1
        elif found == (intent.state_id, intent.version, intent.digest):
            result.compared += 1
        else:
            result.different += 1
    result.committed_in_flight = sum(intent.name in stored for intent in records.in_flight)
    refused = {intent.name for intent in records.named("refused")}
    result.unasked = sum(name not in records.intents or name in refused for name in stored)


def _sample(persister: StateMachinePersister, records: Records, stored: Stored, random: Random, result: Audit) -> None:
    there = [intent for intent in records.named("acknowledged") if intent.name in stored]
    for intent in random.sample(there, min(SAMPLE, len(there))):
        state = persister.load(intent.state_id, at_version=intent.version)
        result.different += digest_of(ORDERS.dump(state.data)) != intent.digest
        result.sampled += 1
