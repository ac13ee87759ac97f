"""The machine of the demonstration: an order's life, which begins anew when the customer orders again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from eventstate.machines.machine import Machine


@dataclass(frozen=True, slots=True)
class Order:
    """An order. Money is in cents; ``total`` and ``paid`` count over all rounds, so a lost event shows in them."""

    status: str = "new"
    round: int = 0
    lines: tuple[str, ...] = ()
    total: int = 0
    paid: int = 0
    carrier: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    customer: str


@dataclass(frozen=True, slots=True)
class LineAdded:
    sku: str
    price: int


@dataclass(frozen=True, slots=True)
class Paid:
    amount: int


@dataclass(frozen=True, slots=True)
class Shipped:
    carrier: str


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class Returned:
    why: str


@dataclass(frozen=True, slots=True)
class Refunded:
    amount: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


OrderEvent = Placed | LineAdded | Paid | Shipped | Delivered | Returned | Refunded | Cancelled

TRANSITIONS = (
    ("new", "Placed", "placed"),
    ("placed", "LineAdded", "placed"),
    ("placed", "Paid", "paid"),
    ("placed", "Cancelled", "closed"),
    ("paid", "Shipped", "shipped"),
    ("paid", "Refunded", "closed"),
    ("shipped", "Delivered", "delivered"),
    ("delivered", "Returned", "returned"),
    ("delivered", "Placed", "placed"),
    ("returned", "Refunded", "closed"),
    ("closed", "Placed", "placed"),
)


def evolve(order: Order, event: OrderEvent) -> Order:
    """The order after an event."""
    match event:
        case Placed():
            return replace(order, status="placed", round=order.round + 1, lines=(), carrier=None)
        case LineAdded(sku, price):
            return replace(order, lines=(*order.lines, sku), total=order.total + price)
        case Paid(amount):
            return replace(order, status="paid", paid=order.paid + amount)
        case Shipped(carrier):
            return replace(order, status="shipped", carrier=carrier)
        case Delivered():
            return replace(order, status="delivered")
        case Returned():
            return replace(order, status="returned")
        case Refunded(amount):
            return replace(order, status="closed", paid=order.paid - amount)
        case Cancelled():
            return replace(order, status="closed")


ORDERS = Machine("order", Order(), evolve, state_of="status", transitions=TRANSITIONS)


def next_event(order: Order, random: Random) -> OrderEvent:
    """Something that may happen to an order now."""
    action = random.choice(ORDERS.actions(order))
    match action:
        case "Placed":
            return Placed(random.choice(("ada", "grace", "edsger", "barbara")))
        case "LineAdded":
            return LineAdded(f"sku-{random.randrange(1000)}", random.randrange(100, 10_000))
        case "Paid":
            return Paid(order.total)
        case "Shipped":
            return Shipped(random.choice(("DHL", "UPS", "a bicycle")))
        case "Delivered":
            return Delivered()
        case "Returned":
            return Returned("too small")
        case "Refunded":
            return Refunded(order.total)
        case _:
            return Cancelled()
