"""W9: eventstate on Firestore, measured on Google's emulator, which this part starts and ends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from benchmarks.cases import QUICK, SIZES, Case, Scale
from benchmarks.environments import OWN, interpreter
from benchmarks.part import Places
from benchmarks.payloads import LABELS
from benchmarks.processes import MeasurementFailed, measure
from benchmarks.progress import Progress, Step
from benchmarks.protocol import Request
from benchmarks.registry import Arm
from benchmarks.runner import Runner, reason, request
from eventstate.testing.emulator import Emulator, EmulatorMissing, start_emulator
from eventstate.testing.grpc_proxy import GrpcProxy

PEER: Final = "langgraph-firestore"
MACHINES: Final = {"small": 2_000, "large": 500}
WARM_UP: Final = 5.0
UNBOUNDED: Final = 1_000_000
COUNTED: Final = 10
"""Operations per caller in the shorter of two counted runs; the longer has twice as many."""

RAW: Final = Arm(name="raw stubs", environment=OWN, module="firestore_raw_arm", style="sync")
OURS: Final = Arm(name="eventstate", environment=OWN, module="firestore_eventstate_arm", style="sync")
CLIENT: Final = Arm(name="client library", environment=OWN, module="firestore_client_arm", style="sync")
CHECKPOINTS: Final = Arm(
    name="langgraph, checkpoint alone", environment=PEER, module="firestore_langgraph_arm", style="sync", variant="put"
)
STEPS: Final = replace(CHECKPOINTS, name="langgraph, step of a graph", variant="step")


def tasks(arm: Arm) -> Arm:
    """The same for asyncio callers."""
    return replace(arm, name=f"{arm.name}, asyncio", style="async")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirestoreCase(Case):
    """A case that reads what its own process wrote before; ``rebuild`` loads the current state."""

    @property
    def seeded(self) -> bool:
        return False


def firestore_cases(scale: Scale) -> list[Case]:
    """All cases of W9."""
    return [*_append(scale), *_load(scale), *_recover(scale)]


def _append(scale: Scale) -> list[Case]:
    found: list[Case] = []
    for size in SIZES:
        one = FirestoreCase(
            name=f"w9-one-{size}",
            title=f"W9 Firestore, one stream, {LABELS[size]}",
            workload="append",
            unit="/s",
            reference=RAW,
            arms=(OURS, CLIENT, CHECKPOINTS, STEPS),
            rounds=scale.rounds,
            size=size,
            events=UNBOUNDED,
            seconds=scale.concurrent_seconds,
        )
        alone = replace(
            one,
            name=f"w9-one-asyncio-{size}",
            title=f"W9 Firestore, one stream, asyncio, {LABELS[size]}",
            reference=tasks(RAW),
            arms=(tasks(OURS), tasks(CLIENT)),
        )
        many = replace(
            alone,
            name=f"w9-tasks-{size}",
            title=f"W9 Firestore, 64 streams, asyncio, {LABELS[size]}",
            workload="concurrent",
            machines=64,
            arms=(tasks(OURS), tasks(CLIENT), tasks(CHECKPOINTS), tasks(STEPS)),
        )
        found += [one, alone, many]
    return found


def _load(scale: Scale) -> list[Case]:
    found: list[Case] = []
    for size in SIZES:
        one = FirestoreCase(
            name=f"w9-load-{size}",
            title=f"W9 Firestore, load, {LABELS[size]}",
            workload="rebuild",
            unit="/s",
            reference=RAW,
            arms=(OURS, CLIENT, CHECKPOINTS),
            rounds=scale.rounds,
            size=size,
            events=UNBOUNDED,
            seconds=scale.concurrent_seconds,
        )
        many = replace(
            one,
            name=f"w9-load-tasks-{size}",
            title=f"W9 Firestore, load, 64 tasks, {LABELS[size]}",
            machines=64,
            reference=tasks(RAW),
            arms=(tasks(OURS), tasks(CLIENT)),
        )
        found += [one, many]
    return found


def _recover(scale: Scale) -> list[Case]:
    return [
        FirestoreCase(
            name=f"w9-recover-{size}",
            title=f"W9 Firestore, recover {MACHINES[size]:,} machines, {LABELS[size]}",
            workload="recover",
            unit="machines/s",
            reference=RAW,
            arms=(OURS, CLIENT),
            rounds=scale.rounds,
            size=size,
            machines=MACHINES[size],
            repeat=3,
        )
        for size in SIZES
    ]


class Firestore(Runner):
    """Cases measured like all others, each in a project of its own. Where there is no emulator, it is said."""

    def __init__(self, cases: Sequence[Case], places: Places, progress: Progress) -> None:
        super().__init__(cases, places, progress)
        self._emulator: Emulator | None = None

    def steps(self) -> list[Step]:
        return [
            Step("w9 emulator", 1, 2.0),
            Step("w9 warm-up", 1, WARM_UP + 1.0),
            *super().steps(),
            *(Step(_counting(case), len(case.arms) + 1, 3.0) for case in self._counted()),
        ]

    def run(self) -> None:
        self._progress("w9 emulator", "W9, the emulator starts")
        try:
            self._emulator = start_emulator()
        except EmulatorMissing as missing:
            self._skip(str(missing))
            return
        try:
            self._warm_up()
            super().run()
            for case in self._counted():
                for arm in (case.reference, *case.arms):
                    self._count(case, arm)
        finally:
            self._emulator.stop()

    def _warm_up(self) -> None:
        """Let the emulator's compiler do its work before anything is measured."""
        self._progress("w9 warm-up", "W9, the emulator warms up")
        case = next(case for case in _append(QUICK) if case.workload == "concurrent")
        with suppress(MeasurementFailed):  # whatever is wrong will be told by what is measured
            self._answer(replace(case, seconds=WARM_UP), tasks(RAW))

    def _skip(self, why: str) -> None:
        for table in self.tables:
            table.done = table.wanted
            for row in table.rows:
                row.failures.append(why)

    def _answer(self, case: Case, arm: Arm) -> dict[str, Any]:
        assert self._emulator is not None
        return self._ask(case, arm, self._emulator.host)

    def _ask(self, case: Case, arm: Arm, host: str, **changes: Any) -> dict[str, Any]:
        project = f"bench-{uuid.uuid4().hex[:20]}"
        asked: Request = request(case, arm, Path(host) / project)
        module = "benchmarks.firestore_reading" if case.workload in ("rebuild", "recover") else "benchmarks.child"
        try:
            return measure(interpreter(arm.environment, self._places.cache), replace(asked, **changes), module=module)
        finally:
            self._remove(project)

    def _remove(self, project: str) -> None:
        """The emulator keeps everything in memory, and gets slower as that fills."""
        assert self._emulator is not None
        documents = f"/emulator/v1/projects/{project}/databases/(default)/documents"
        with suppress(OSError):
            urlopen(HttpRequest(f"http://{self._emulator.host}{documents}", method="DELETE"), timeout=30).close()

    def _counted(self) -> list[Case]:
        """Larger states take no more requests."""
        return [case for case in self._cases if case.size == "small"]

    def _count(self, case: Case, arm: Arm) -> None:
        """Requests per operation: what one more of each costs, counted on the wire by a proxy."""
        row = self._row(case, arm)
        if not row.rounds:
            self._progress.drop(_counting(case))
            return
        self._progress(_counting(case), f"{case.title}, requests: {arm.name}")
        try:
            row.extra["requests"] = self._requests(case, arm)
            row.notes.append(f"{row.extra['requests']:.2f} requests each")
        except Exception as error:
            row.notes.append(f"requests not counted: {reason(error)}")

    def _requests(self, case: Case, arm: Arm) -> float:
        assert self._emulator is not None
        counted: list[tuple[int, int]] = []
        for number in (COUNTED, 2 * COUNTED):
            changes = {"repeat": number} if case.workload == "recover" else {"events": number}
            with GrpcProxy(self._emulator.host) as proxy:
                answer = self._ask(case, arm, proxy.host, seconds=600.0, **changes)
                counted.append((proxy.calls.total(), answer["events"]))
        (calls, operations), (more_calls, more_operations) = counted
        return (more_calls - calls) / (more_operations - operations)


def _counting(case: Case) -> str:
    return f"{case.name} requests"
