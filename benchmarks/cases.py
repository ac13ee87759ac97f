"""What one run measures: the workloads W1 to W5 and W8 with their arms and sizes.

W6 is in `imports`, W7 in `growth`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmarks import registry as arms
from benchmarks.environments import OWN
from benchmarks.payloads import LABELS, Size
from benchmarks.protocol import Workload
from benchmarks.registry import Arm

SIZES: Final[tuple[Size, ...]] = ("small", "large")
SNAPSHOT_EVERY: Final = 100
CONTENDERS: Final = 16
TAIL: Final = 50
"""Events after the last snapshot where snapshots are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much one mode measures. Seconds bound the writing part of one measurement."""

    append_rounds: int
    append_events: int
    append_seconds: float
    rounds: int
    slow_peer_rounds: int
    concurrent_events: int
    concurrent_seconds: float
    rebuild_events: int
    recover_machines: int
    import_rounds: int
    growth_rounds: int


QUICK: Final = Scale(
    append_rounds=7,
    append_events=400,
    append_seconds=0.5,
    rounds=3,
    slow_peer_rounds=2,
    concurrent_events=200,
    concurrent_seconds=0.5,
    rebuild_events=10_000,
    recover_machines=10_000,
    import_rounds=4,
    growth_rounds=7,
)
LONG: Final = Scale(
    append_rounds=15,
    append_events=5_000,
    append_seconds=5.0,
    rounds=7,
    slow_peer_rounds=7,
    concurrent_events=1_000,
    concurrent_seconds=4.0,
    rebuild_events=100_000,
    recover_machines=10_000,
    import_rounds=15,
    growth_rounds=15,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload at one size: the reference arm and those compared with it.

    Attributes:
        unit: what ``rate`` counts; ``ms`` where only the time is shown; ``B/event`` for sizes, read from the seed.
        count_syncs: also count the sync system calls per append, in one extra measurement.
        peer_rounds: slow peers are measured in the first rounds only; None: in all.
    """

    name: str
    title: str
    workload: Workload | Literal["size"]
    unit: str
    reference: Arm
    arms: tuple[Arm, ...]
    rounds: int
    size: Size = "small"
    machines: int = 1
    events: int = 1
    snapshot_every: int = 0
    seconds: float = 60.0
    repeat: int = 1
    count_syncs: bool = False
    peer_rounds: int | None = None

    def takes_part(self, arm: Arm, number: int) -> bool:
        """Whether an arm is measured in a round, counted from 0."""
        return arm.environment == OWN or self.peer_rounds is None or number < self.peer_rounds

    @property
    def seeded(self) -> bool:
        return self.workload in ("rebuild", "recover", "growth", "size")


def cases(scale: Scale) -> list[Case]:
    """All cases in the order of the table."""
    return [*_append(scale), *_concurrent(scale), *_rebuild(scale), _recover(scale), *_sizes(scale), _contended(scale)]


def select(
    chosen: Sequence[Case], *, only: Sequence[str], arm_names: Sequence[str], slow: bool, rounds: int | None
) -> list[Case]:
    """The cases whose name begins with one of ``only``, with arms that contain one of ``arm_names``; empty: all."""

    def wanted(arm: Arm) -> bool:
        return (slow or not arm.slow) and (not arm_names or any(name in arm.name for name in arm_names))

    return [
        replace(
            case, arms=tuple(arm for arm in case.arms if wanted(arm)), rounds=min(case.rounds, rounds or case.rounds)
        )
        for case in chosen
        if not only or any(case.name.startswith(name) for name in only)
    ]


OWN_WRITERS: Final[dict[Size, tuple[Arm, ...]]] = {
    "small": (arms.OURS, arms.OURS_STATES, arms.OURS_ASYNC, arms.RAW_ASYNC),
    "large": (arms.OURS, arms.OURS_ASYNC),
}
PEER_WRITERS: Final = (arms.EVENTSOURCING, arms.EVENTSOURCE_PY, arms.LANGGRAPH, arms.LANGGRAPH_ASYNC, arms.DBOS)


def _append(scale: Scale) -> list[Case]:
    return [
        Case(
            name=f"w1-{size}",
            title=f"W1 one writer, {LABELS[size]}",
            workload="append",
            unit="/s",
            reference=arms.RAW,
            arms=(*OWN_WRITERS[size], *PEER_WRITERS),
            rounds=scale.append_rounds,
            size=size,
            events=scale.append_events,
            seconds=scale.append_seconds,
            count_syncs=size == "small",
        )
        for size in SIZES
    ]


def _concurrent(scale: Scale) -> list[Case]:
    tasks = (arms.OURS_ASYNC, arms.EVENTSOURCE_PY, arms.LANGGRAPH_ASYNC)
    threads = (arms.OURS, arms.EVENTSOURCING, arms.LANGGRAPH, arms.DBOS)
    base = Case(
        name="w2-tasks-small",
        title="W2 64 asyncio tasks, 200 B",
        workload="concurrent",
        unit="/s",
        reference=arms.RAW_TASKS,
        arms=tasks,
        rounds=scale.rounds,
        machines=64,
        events=scale.concurrent_events,
        seconds=scale.concurrent_seconds,
        count_syncs=True,
    )
    return [
        base,
        replace(base, name="w2-tasks-large", title="W2 64 asyncio tasks, 4 KiB", size="large", count_syncs=False),
        replace(base, name="w2-threads-small", title="W2 64 threads, 200 B", reference=arms.RAW_THREADS, arms=threads),
        replace(
            base,
            name="w2-processes-small",
            title="W2 4 processes x 16, 200 B",
            workload="processes",
            arms=(arms.OURS_ASYNC, arms.EVENTSOURCING, arms.LANGGRAPH),
            count_syncs=False,
        ),
    ]


REPLAYERS: Final = (arms.OURS, arms.OURS_STATES, arms.EVENTSOURCING, arms.EVENTSOURCE_PY, arms.LANGGRAPH)


def _rebuild(scale: Scale) -> list[Case]:
    def case(size: Size, events: int) -> Case:
        return Case(
            name=f"w3-{size}",
            title=f"W3 rebuild from {events:,} events, {LABELS[size]}",
            workload="rebuild",
            unit="events/s",
            reference=arms.RAW,
            arms=REPLAYERS,
            rounds=scale.rounds,
            size=size,
            events=events,
            repeat=2,
        )

    small = case("small", scale.rebuild_events)
    large = replace(case("large", 10_000), repeat=1, peer_rounds=scale.slow_peer_rounds)
    snapshots = replace(
        small,
        name="w3-snapshots",
        unit="ms",
        title=f"W3 snapshot + {TAIL} of {scale.rebuild_events:,}, 200 B",
        events=scale.rebuild_events + TAIL,
        snapshot_every=SNAPSHOT_EVERY,
    )
    return [small, large, snapshots]


def _recover(scale: Scale) -> Case:
    return Case(
        name="w4",
        title=f"W4 recover {scale.recover_machines:,} machines x 10",
        workload="recover",
        unit="machines/s",
        reference=arms.RAW,
        arms=tuple(arms.OURS_STATES_BULK if arm is arms.OURS_STATES else arm for arm in REPLAYERS),
        rounds=scale.rounds,
        peer_rounds=scale.slow_peer_rounds,
        machines=scale.recover_machines,
        events=10,
    )


def _sizes(scale: Scale) -> list[Case]:
    seeds = (*_rebuild(scale)[:2], _recover(scale))  # what these read is what is measured here
    titles = ("one machine, 200 B", "one machine, 4 KiB", f"{scale.recover_machines:,} machines, 200 B")
    return [
        replace(
            seed,
            name=f"w5-{number}",
            title=f"W5 on disk, {title}",
            workload="size",
            unit="B/event",
            rounds=1,
        )
        for number, (seed, title) in enumerate(zip(seeds, titles, strict=True), start=1)
    ]


def _contended(scale: Scale) -> Case:
    return Case(
        name="w8",
        title=f"W8 {CONTENDERS} writers, one document",
        workload="contended",
        unit="/s",
        reference=arms.RAW_SWAP,
        arms=(arms.OURS_TRANSACTIONS, arms.OURS_SWAP),
        rounds=scale.rounds,
        machines=CONTENDERS,
        seconds=max(1.0, scale.concurrent_seconds),
    )
