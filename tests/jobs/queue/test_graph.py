"""The order of jobs that depend on each other, and circles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import DependencyCycleError
from eventstate.jobs.queue.graph import in_order

NAMES = [f"j{n}" for n in range(8)]
GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from([*NAMES, "elsewhere"]), unique=True, max_size=4), max_size=8
)


def has_cycle(graph: dict[str, list[str]]) -> bool:
    """By taking away what depends on nothing, until nothing more goes."""
    left = {name: {need for need in needs if need in graph} for name, needs in graph.items()}
    while free := {name for name, needs in left.items() if not needs}:
        left = {name: needs - free for name, needs in left.items() if name not in free}
    return bool(left)


@settings(max_examples=200)
@given(GRAPHS)
def test_each_comes_after_what_it_needs_or_a_circle_is_named(graph: dict[str, list[str]]) -> None:
    if has_cycle(graph):
        with pytest.raises(DependencyCycleError) as caught:
            in_order(graph)
        cycle = caught.value.cycle
        assert len(set(cycle)) == len(cycle) > 0
        assert all(need in graph[name] for name, need in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        return
    order = in_order(graph)
    assert sorted(order) == sorted(graph)
    assert all(order.index(need) < order.index(name) for name in graph for need in graph[name] if need in graph)


def test_independent_ones_stay_in_their_order() -> None:
    assert in_order({"b": [], "a": [], "c": ["a"]}) == ["b", "a", "c"]


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {str(n): [str(n + 1)] for n in range(20_000)} | {"20000": list[str]()}
    assert in_order(chain)[0] == "20000"
