"""A queue in which nobody's flood keeps the others waiting."""

import threading

import pytest

from vaultctl.domain.errors import TooManyRequests, VaultUnavailable
from vaultctl.engine.lanes import Lanes


def test_lanes_take_turns_and_each_keeps_its_order() -> None:
    lanes: Lanes[str] = Lanes(10, 30)
    for item in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        lanes.put(item[0], item)
    assert lanes.take(3) == ["a1", "b1", "c1"]
    assert lanes.take(10) == ["a2", "b2", "a3", "a4"]
    assert len(lanes) == 0


def test_who_comes_late_waits_for_one_turn_of_the_others() -> None:
    lanes: Lanes[str] = Lanes(1000, 3000)
    for number in range(1000):
        lanes.put("flood", f"flood-{number}")
    assert lanes.take(64) == [f"flood-{number}" for number in range(64)]
    lanes.put("late", "late")
    assert "late" in (lanes.take(2) or [])


def test_a_full_lane_refuses_and_leaves_the_others_room() -> None:
    lanes: Lanes[int] = Lanes(2, 10)
    lanes.put("a", 1)
    lanes.put("a", 2)
    with pytest.raises(TooManyRequests):
        lanes.put("a", 3)
    lanes.put("b", 4)
    lanes.put("a", 5, bounded=False)  # what was accepted before
    assert len(lanes) == 4


def test_a_full_queue_refuses_everybody() -> None:
    lanes: Lanes[int] = Lanes(2, 3)
    for number, lane in enumerate("abc"):
        lanes.put(lane, number)
    with pytest.raises(VaultUnavailable):
        lanes.put("d", 4)


def test_taking_waits_for_the_first_and_gives_up_in_time() -> None:
    lanes: Lanes[int] = Lanes(2, 3)
    assert lanes.take(5, timeout=0.001) == []
    taken: list[list[int] | None] = []
    taker = threading.Thread(target=lambda: taken.append(lanes.take(5)))
    taker.start()
    lanes.put("a", 1)
    taker.join(10)
    assert taken == [[1]]


def test_a_closed_queue_is_emptied_first_unless_it_is_dropped() -> None:
    lanes: Lanes[int] = Lanes(2, 3)
    lanes.put("a", 1)
    lanes.close()
    assert (lanes.take(5), lanes.take(5)) == ([1], None)
    dropped: Lanes[int] = Lanes(2, 3)
    dropped.put("a", 1)
    dropped.close(drop=True)
    assert dropped.take(5) is None
