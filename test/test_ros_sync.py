"""The synchroniser: one contract for the built-in one and for message_filters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.ros.sync import (
    JUMP_BACK_NS,
    BuiltinSynchroniser,
    MessageFiltersSynchroniser,
    Stream,
    Synchroniser,
    create_synchroniser,
    has_message_filters,
)

MS = 1_000_000
needs_message_filters = pytest.mark.skipif(not has_message_filters(), reason="message_filters is not installed here")
IMPLEMENTATIONS = [BuiltinSynchroniser, pytest.param(MessageFiltersSynchroniser, marks=needs_message_filters)]

# Two streams of jittered stamps, interleaved anyhow but each nearly in order, with losses and repetitions.
arrivals = st.lists(st.tuples(st.sampled_from(list(Stream)), st.integers(0, 40), st.integers(-6, 6)), max_size=120).map(
    lambda steps: [(stream, 5_000 * MS + 33 * MS * number + jitter * MS) for stream, number, jitter in steps]
)


def run(kind: type[Synchroniser], messages: list[tuple[Stream, int]], slop_ns: int, depth: int):
    pairs: list[tuple[int, int, int, int, int]] = []
    synchroniser = kind(slop_ns, depth, lambda stamp, left, right: pairs.append((stamp, *left, *right)))
    for number, (stream, stamp) in enumerate(messages):
        synchroniser.add(stream, stamp, (stamp, number))
    return synchroniser, pairs


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@settings(max_examples=150, deadline=None)
@given(messages=arrivals, slop_ms=st.integers(0, 20), depth=st.integers(1, 6))
def test_pairs_are_within_the_slop_never_reused_and_in_order(kind, messages, slop_ms, depth):
    synchroniser, pairs = run(kind, messages, slop_ms * MS, depth)
    assert all(stamp == left and abs(left - right) <= slop_ms * MS for stamp, left, _, right, _ in pairs)
    used = [number for *_, in_left, _, in_right in pairs for number in (in_left, in_right)]
    assert len(used) == len(set(used))
    for stream, column in ((Stream.LEFT, 2), (Stream.RIGHT, 4)):
        assert all(messages[pair[column]][0] is stream for pair in pairs)
    if synchroniser.counts.restarts == 0:
        assert [pair[1] for pair in pairs] == sorted({pair[1] for pair in pairs})
        assert [pair[3] for pair in pairs] == sorted({pair[3] for pair in pairs})
    counts = synchroniser.counts
    assert counts.received == len(messages)
    assert counts.pairs == len(pairs)
    assert counts.received == 2 * counts.pairs + counts.unpaired + counts.pending
    assert 0 <= counts.pending <= 2 * depth
    assert counts.unpaired >= 0


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@pytest.mark.parametrize("apart_ns", [0, 1, 5 * MS])
def test_a_difference_of_exactly_the_slop_is_within_it(kind, apart_ns):
    first = 1_750_509_000_000_000_000
    messages = [(Stream.LEFT, first), (Stream.RIGHT, first + apart_ns), (Stream.LEFT, first + 30 * MS)]
    assert len(run(kind, messages, apart_ns, 5)[1]) == 1
    if apart_ns:
        assert len(run(kind, messages, apart_ns - 1, 5)[1]) == 0


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@settings(max_examples=80, deadline=None)
@given(lag=st.integers(0, 3), count=st.integers(1, 30), jitter=st.lists(st.integers(-4, 4), min_size=30, max_size=30))
def test_every_frame_of_a_camera_is_paired_when_one_side_lags(kind, lag, count, jitter):
    left = [(Stream.LEFT, 1_000 * MS + 33 * MS * n) for n in range(count)]
    right = [(Stream.RIGHT, stamp + jitter[n] * MS) for n, (_, stamp) in enumerate(left)]
    messages: list[tuple[Stream, int]] = []
    for n in range(count + lag):
        messages += left[n : n + 1]
        messages += right[n - lag : n - lag + 1] if n >= lag else []
    synchroniser, pairs = run(kind, messages, 5 * MS, lag + 1)
    assert [(pair[1], pair[3]) for pair in pairs] == [(a, b) for (_, a), (_, b) in zip(left, right, strict=True)]
    assert synchroniser.counts.unpaired == 0


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_it_goes_on_after_time_jumped_back(kind):
    once = [(stream, 10_000 * MS + 33 * MS * n) for n in range(10) for stream in Stream]
    earlier = [(stream, stamp - 2 * JUMP_BACK_NS) for stream, stamp in once]
    synchroniser, pairs = run(kind, once + earlier, MS, 3)
    assert len(pairs) == 20
    assert synchroniser.counts.restarts == 1


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_a_silent_side_keeps_the_queue_bounded(kind):
    synchroniser, pairs = run(kind, [(Stream.LEFT, 33 * MS * n) for n in range(1000)], MS, 4)
    assert pairs == []
    assert synchroniser.counts.pending == 4
    assert synchroniser.counts.unpaired == 996


def test_the_nearest_partner_is_chosen():
    messages = [(Stream.RIGHT, 100 * MS), (Stream.RIGHT, 108 * MS), (Stream.LEFT, 107 * MS)]
    synchroniser, pairs = run(BuiltinSynchroniser, messages, 10 * MS, 5)
    assert [(pair[1], pair[3]) for pair in pairs] == [(107 * MS, 108 * MS)]
    assert synchroniser.counts.unpaired == 1
    assert synchroniser.newest_difference_ns == -MS


def test_the_one_that_ros_provides_is_taken():
    expected = MessageFiltersSynchroniser if has_message_filters() else BuiltinSynchroniser
    assert type(create_synchroniser(MS, 3, lambda *_: None)) is expected


@pytest.mark.parametrize(("slop", "depth"), [(-1, 3), (1, 0)])
def test_impossible_settings_are_refused(slop, depth):
    with pytest.raises(ValueError, match="slop"):
        create_synchroniser(slop, depth, lambda *_: None)
