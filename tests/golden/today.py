"""The machines of the golden histories as they are declared today: old events come through upcasters and renamings.

When a machine's code moves on, it is here that upcasters are added; the files stay as they are, for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from eventstate import Event, Machine


class Status(StrEnum):
    NEW = "new"
    PLACED = "placed"
    PAID = "paid"


@dataclass(frozen=True)
class Order:
    """Of state schema 2: schema 1 had no ``currency``."""

    status: Status = Status.NEW
    cents: int = 0
    currency: str = "EUR"
    tags: frozenset[str] = frozenset()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderPlaced:
    """Once ``Placed``."""

    who: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Paid:
    """Schema 1 had ``amount`` in whole euros, schema 2 ``cents``, schema 3 says the currency."""

    cents: int
    currency: str


@dataclass(frozen=True)
class LineAdded:
    text: str


def evolve_order(order: Order, event: OrderPlaced | Paid | LineAdded) -> Order:
    match event:
        case OrderPlaced(who, tags):
            return replace(order, status=Status.PLACED, tags=order.tags | tags | {f"by {who}"})
        case Paid(cents, currency):
            return replace(order, status=Status.PAID, cents=order.cents + cents, currency=currency)
        case LineAdded(text):
            return replace(order, lines=(*order.lines, text))


ORDERS: Machine[Order, Any] = Machine(
    "order",
    Order(),
    evolve_order,
    state_of="status",
    renamed={"Placed": "OrderPlaced"},
    schemas={"Paid": 3},
    upcasters={
        "Paid": {
            1: lambda data: {"cents": data["amount"] * 100},
            2: lambda data: {**data, "currency": "EUR"},
        }
    },
    state_schema=2,
    state_upcasters={1: lambda state: {**state, "currency": "EUR"}},
)


class Measured(BaseModel):
    """Values of all the types that have a form of their own in JSON."""

    at: datetime
    day: date
    price: Decimal
    id: UUID
    readings: dict[str, float] = {}
    seen: set[str] = set()
    note: str | None = None


class Log(BaseModel):
    last: Measured | None = None
    days: list[date] = []
    seen: set[str] = set()
    total: Decimal = Decimal(0)


def evolve_log(log: Log, event: Measured) -> Log:
    return Log(
        last=event,
        days=[*log.days, event.day],
        seen=log.seen | event.seen,
        total=log.total + event.price,
    )


LOGS: Machine[Log, Any] = Machine("log", Log(), evolve_log)


@dataclass(frozen=True)
class Bag:
    """A state of raw events, whose types nobody declared."""

    seen: dict[str, Any] = field(default_factory=dict)


def evolve_bag(bag: Bag, event: Event) -> Bag:
    return Bag({**bag.seen, event.type: event.data})


BAGS: Machine[Bag, Any] = Machine("bag", Bag(), evolve_bag)

MACHINES = [ORDERS, LOGS, BAGS]
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, UTC)
"""A time at which clocks are put forward in some zones."""
