"""The check itself: from a history to what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eventstate.testing.serializability.anomalies import Anomaly
from eventstate.testing.serializability.cycles import cycle_anomalies
from eventstate.testing.serializability.dependencies import add_dependencies, add_real_time
from eventstate.testing.serializability.graph import Graph
from eventstate.testing.serializability.history import Transaction
from eventstate.testing.serializability.observations import happened, index_keys, observe
from eventstate.testing.serializability.orders import KeyOrder


def check(history: Iterable[Transaction], *, final: Mapping[str, Sequence[int]] | None = None) -> list[Anomaly]:
    """What no strictly serial execution could have done; empty if there is one that explains it all.

    Committed transactions must be explained. Aborted ones must not be seen. An unknown one counts as committed if a
    read of a committed one, or the final read, has a value of it; else it is left out. One wrong read may be found
    under several names, and one cycle is shown for each knot of cycles.

    Args:
        history: the transactions, in any order.
        final: lists by key, read when all was over. With them appends that nobody read are missed if they are lost;
            a key that is not here was not read at the end.

    Raises:
        InvalidInputError: it is no history: an id, or a value of a key, is there twice, or a transaction ended before
            it started.
    """
    transactions = list(history)
    keys = index_keys(transactions, final or {})
    took_effect = happened(transactions, keys)
    found: list[Anomaly] = []
    for number in took_effect:
        found += observe(number, transactions[number], keys)
    graph = Graph(len(transactions))
    orders: dict[str, KeyOrder] = {}
    for key, known in keys.items():
        order = orders[key] = KeyOrder(known)
        found += order.anomalies(transactions)
        add_dependencies(graph, order)
    add_real_time(graph, transactions, took_effect)
    found += cycle_anomalies(graph, transactions, orders, took_effect)
    return found
