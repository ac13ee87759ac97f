"""Every arm: how it is called in the table, where it runs, and how its callers call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.environments import OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One library in one form.

    Attributes:
        environment: `environments.OWN` or a key of `environments.PEERS`.
        module, variant, style: as in `protocol.Request`.
        slow: left out unless asked for.
    """

    name: str
    environment: str
    module: str
    style: Literal["sync", "async"]
    variant: str = ""
    slow: bool = False


RAW: Final = Arm(name="raw", environment=OWN, module="raw_arm", style="sync")
RAW_ASYNC: Final = Arm(name="raw, asyncio + writer thread", environment=OWN, module="raw_arm", style="async")
RAW_TASKS: Final = Arm(name="raw group commit, tasks", environment=OWN, module="raw_arm", style="async")
RAW_THREADS: Final = Arm(
    name="raw group commit, threads", environment=OWN, module="raw_arm", style="sync", variant="group"
)

OURS: Final = Arm(name="eventstate", environment=OWN, module="eventstate_arm", style="sync", variant="events")
OURS_STATES: Final = Arm(
    name="eventstate, plain states", environment=OWN, module="eventstate_arm", style="sync", variant="states"
)
OURS_ASYNC: Final = Arm(
    name="eventstate, asyncio", environment=OWN, module="eventstate_arm", style="async", variant="events"
)

RAW_SWAP: Final = Arm(name="raw compare-and-swap", environment=OWN, module="raw_counter_arm", style="sync")
OURS_SWAP: Final = Arm(
    name="eventstate, store's compare-and-swap",
    environment=OWN,
    module="eventstate_counter_arm",
    style="sync",
    variant="store",
)
OURS_TRANSACTIONS: Final = Arm(
    name="eventstate, transactions",
    environment=OWN,
    module="eventstate_counter_arm",
    style="sync",
    variant="transactions",
)
OURS_BULK: Final = Arm(name="eventstate", environment=OWN, module="eventstate_bulk", style="sync", variant="events")
OURS_STATES_BULK: Final = Arm(
    name="eventstate, plain states", environment=OWN, module="eventstate_bulk", style="sync", variant="states"
)

EVENTSOURCING: Final = Arm(name="eventsourcing", environment="eventsourcing", module="eventsourcing_arm", style="sync")
EVENTSOURCE_PY: Final = Arm(
    name="eventsource-py, asyncio", environment="eventsource-py", module="eventsource_py_arm", style="async"
)
LANGGRAPH: Final = Arm(name="langgraph", environment="langgraph", module="langgraph_arm", style="sync")
LANGGRAPH_ASYNC: Final = Arm(
    name="langgraph, asyncio", environment="langgraph", module="langgraph_async_arm", style="async"
)
DBOS: Final = Arm(name="dbos", environment="dbos", module="dbos_arm", style="sync", slow=True)
