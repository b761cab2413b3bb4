"""A node with use_sim_time beside a bag that is played in a loop: stamps and /clock jump back together, as with `ros2 bag play`."""

from __future__ import annotations

import time
from pathlib import Path

import fault_samples as faults
import pytest
from rosgraph_msgs.msg import Clock

from vloc_ros.ros import qos
from vloc_ros.ros.conversions import stamp_from_ns

START_NS, LOOP_S = 1_600_000_000_000_000_000, 2.5


@pytest.mark.slow
def test_a_bag_in_a_loop_with_its_clock(tmp_path: Path) -> None:
    path = faults.teach(tmp_path / "site.vloc")
    with faults.bench({"mode": "repeat", "map": str(path), "use_sim_time": True}, tmp_path) as bench:
        publisher = bench.probe.node.create_publisher(Clock, "/clock", qos.reliable())
        begun = time.monotonic()

        def bag() -> int:
            return START_NS + int(1e9 * ((time.monotonic() - begun) % LOOP_S))

        bench.clock = bag
        bench.camera.calibrate()
        # A blank wall first, and no clock: what keeps it from working is said.
        bench.play(lambda: "use_sim_time is set" in bench.problems.get("problem_bad_stamp", ""), "the reason", blank)
        bench.before_frame = lambda stamp_ns: publisher.publish(Clock(clock=stamp_from_ns(stamp_ns)))
        bench.play_to_poses("with a clock")
        reason = "the stamps of the images jumped back by"
        for _ in range(2):
            restarts = bench.number("time_restarts")
            bench.play(lambda: reason in bench.problems.get("problem_time_jumped_back", ""), "the reason")
            bench.play(lambda restarts=restarts: bench.number("time_restarts") > restarts and not bench.problems, "the end of it")
            assert bench.judge() > 0


def blank(bench: faults.Bench, _index: int, stamp_ns: int) -> faults.Sending:
    empty = 0 * faults.views(0)[0]
    return [(0.0, side, faults.message(stamp_ns, empty)) for side in ("left", "right")]
