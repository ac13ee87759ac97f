"""The states that every arm stores: the same values for all, about 200 bytes and about 4 KiB of JSON."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

Size: TypeAlias = Literal["small", "large"]
State: TypeAlias = dict[str, Any]

LABELS: Final[dict[Size, str]] = {"small": "200 B", "large": "4 KiB"}
LINES: Final = 42
STATUSES: Final = ("placed", "paid", "packed", "shipped")

CHANGED_BY: Final = "worker-07"
REASON: Final = "benchmark"


def state(size: Size, n: int) -> State:
    """The state of a machine after its ``n``-th event; each event changes several fields, ``n`` among them."""
    value: State = {
        "n": n,
        "status": STATUSES[n % len(STATUSES)],
        "customer": "ada.lovelace@example.org",
        "currency": "EUR",
        "total_cents": 10_000 + 37 * n,
        "paid": n % 2 == 0,
        "updated_at": f"2030-01-01T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.000000Z",
        "note": f"step {n} of the order",
    }
    if size == "large":
        value["lines"] = [_line(index, n) for index in range(LINES)]
    return value


def _line(index: int, n: int) -> State:
    touched = n // LINES + (1 if n % LINES >= index else 0)  # one line changes with each event
    return {
        "sku": f"SKU-{index:05}",
        "title": f"Article number {index} of the catalogue",
        "quantity": touched,
        "cents": 995 + index,
    }
