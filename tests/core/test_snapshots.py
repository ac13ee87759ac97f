"""When a snapshot is due and which ones are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.snapshots import MAX_DROPPED, SnapshotPolicy
from eventstate.errors import ConfigurationError

versions = st.integers(0, 1000)


@given(st.integers(1, 50), versions, st.integers(1, 60))
def test_one_is_due_each_time_a_multiple_is_passed(every: int, before: int, size: int) -> None:
    after = before + size
    passed = any(version % every == 0 for version in range(before + 1, after + 1))
    assert SnapshotPolicy(every=every).due(before, after) is passed


@given(versions, versions)
def test_none_is_due_at_zero(before: int, size: int) -> None:
    assert not SnapshotPolicy(every=0).due(before, before + size)


@given(st.integers(1, 6), st.lists(versions, max_size=12))
def test_the_newest_are_kept(keep: int, taken: list[int]) -> None:
    kept, dropped = SnapshotPolicy(keep=keep).split(tuple(taken))
    assert kept == tuple(sorted(set(taken)))[-keep:]
    assert sorted({*kept, *dropped}) == sorted(set(taken))
    assert not set(kept) & set(dropped)
    assert list(dropped) == sorted(dropped)


@given(st.integers(1, 6), st.lists(versions, min_size=1, max_size=12), st.data())
def test_what_a_pruned_stream_begins_at_is_never_dropped(keep: int, taken: list[int], data: st.DataObject) -> None:
    base = data.draw(st.sampled_from(taken))
    kept, dropped = SnapshotPolicy(keep=keep).split(tuple(taken), base)
    assert base in kept
    assert sorted({*kept, *dropped}) == sorted(set(taken))
    assert set(sorted(set(taken))[-keep:]) <= set(kept)


@given(st.integers(1, 6), st.sets(versions, max_size=100))
def test_a_few_are_dropped_at_once_and_the_others_later(keep: int, taken: set[int]) -> None:
    """One commit holds only so many deletes, and other snapshots may have been kept before."""
    policy, left = SnapshotPolicy(keep=keep), tuple(sorted(taken))
    while True:
        kept, dropped = policy.split(left)
        assert len(dropped) <= MAX_DROPPED
        assert (*dropped, *kept) == left, "the oldest go first"
        if not dropped:
            break
        left = kept
    assert left == tuple(sorted(taken))[-keep:]


@pytest.mark.parametrize("options", [{"every": -1}, {"keep": 0}, {"keep": -5}])
def test_numbers_that_make_no_policy(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        SnapshotPolicy(**options)
