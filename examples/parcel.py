"""A parcel that takes one step each time this program runs: its state is in parcel.db, beside you.

Run it several times, and delete parcel.db to begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eventstate import Machine, StateMachinePersister, open_store


@dataclass(frozen=True)
class Parcel:
    status: str = "packed"
    place: str = "warehouse"


@dataclass(frozen=True)
class Collected:
    by: str


@dataclass(frozen=True)
class Moved:
    to: str


@dataclass(frozen=True)
class Delivered:
    pass


def evolve(parcel: Parcel, event: Collected | Moved | Delivered) -> Parcel:
    match event:
        case Collected(by):
            return Parcel("moving", by)
        case Moved(to):
            return replace(parcel, place=to)
        case Delivered():
            return replace(parcel, status="delivered")


parcels = Machine(
    "parcel",
    Parcel(),
    evolve,
    state_of="status",
    transitions=[
        ("packed", "Collected", "moving"),
        ("moving", "Moved", "moving"),
        ("moving", "Delivered", "delivered"),
    ],
)

ROUTE = ["Leipzig", "Lyon", "Lisbon"]


def next_step(parcel: Parcel) -> Collected | Moved | Delivered | None:
    """Decide from the state alone: it may be called again if someone else was faster."""
    if parcel.status == "packed":
        return Collected("van 7")
    if parcel.status == "delivered":
        return None
    if parcel.place == ROUTE[-1]:
        return Delivered()
    return Moved(ROUTE[ROUTE.index(parcel.place) + 1 if parcel.place in ROUTE else 0])


def main() -> None:
    with open_store("sqlite:///parcel.db") as store:
        post = StateMachinePersister(store, governor="post", machines=[parcels])
        parcel = post.execute(parcels, "7", next_step, changed_by="parcel.py")
        for event in post.history(parcels, "7"):
            print(f"{event.version}. {event.timestamp:%H:%M:%S} {event.data}")
        print(f"now: {parcel.data}; legal next: {', '.join(parcels.actions(parcel.data)) or 'nothing'}")


if __name__ == "__main__":
    main()
