"""The machines of the tests; also imported by the command line as ``tests.cli.shop:...``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eventstate import Machine


@dataclass(frozen=True)
class Order:
    status: str = "new"
    total: int = 0


@dataclass(frozen=True)
class Placed:
    who: str


@dataclass(frozen=True)
class Paid:
    amount: int


def evolve(order: Order, event: Placed | Paid) -> Order:
    match event:
        case Placed():
            return replace(order, status="placed")
        case Paid(amount):
            return replace(order, status="paid", total=order.total + amount)


ORDERS = Machine(
    "order", Order(), evolve, state_of="status", transitions=[("new", "Placed", "placed"), ("placed", "Paid", "paid")]
)
LISTED = [ORDERS]
NAMED = {"orders": ORDERS}


def fail(order: Order, event: Placed | Paid) -> Order:
    raise KeyError("missing key")


FAILING = Machine("order", Order(), fail, fold_version=2)
NOT_A_MACHINE = 42


def for_free(order: Order, event: Placed | Paid) -> Order:
    return replace(order, status="placed" if isinstance(event, Placed) else "paid")


FREE = Machine("order", Order(), for_free, fold_version=2)
