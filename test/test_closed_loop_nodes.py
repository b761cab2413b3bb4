"""Teach and drive by the three nodes over real topics, in lock-step, judged by the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ros_samples as samples

from vloc_ros.closed_loop import ClosedLoopSettings, Course, DrivePlan, judge, keyframe_truth, read_drive
from vloc_ros.mapping import MapStore
from vloc_ros.path_following import DriveState
from vloc_ros.processes import run_nodes
from vloc_ros.ros.closed_loop_nodes import ClosedLoopNodes
from vloc_ros.simulation import Site, named_condition

SITE = Site("yard", 3, 36.0)
CONDITION = "noon"


def run(mode: str, map_path: Path, out: Path | None = None, **simulation) -> str:
    nodes = ClosedLoopNodes(mode, map_path, SITE, 0.5, out, simulation={"lockstep": True, "detail": "fast", **simulation})
    lines: list[str] = []
    code = run_nodes(nodes.specs(), until="simulator", timeout_s=280, environment=samples.ros_environment(), output=lines.append)
    output = "\n".join(lines)
    assert code == 0, output
    assert "Traceback" not in output
    return output


@pytest.mark.slow
def test_a_route_is_taught_and_driven_by_the_nodes(tmp_path):
    map_path, out = tmp_path / "yard.vloc", tmp_path / "drive"
    taught = run("teach", map_path)
    assert "none dropped" in taught
    driven = run("repeat", map_path, out, condition=CONDITION)
    assert "none dropped" in driven
    with MapStore.open(map_path, read_only=True) as store:
        keyframes, truth = store.keyframes(), keyframe_truth(store)
    assert [keyframe.stamp_ns for keyframe in keyframes] == truth.stamps_ns.tolist()
    record = read_drive(out)
    summary = judge(record, keyframes, truth).summary
    assert (summary.site, summary.condition) == ("yard", CONDITION)
    assert summary.path_m == pytest.approx(36.0, abs=1.5)
    assert summary.driven_m == pytest.approx(36.0, abs=2.0)
    assert (summary.autonomy_percent, summary.interventions, summary.false_poses) == (100.0, 0, 0)
    assert summary.lateral_rms_m < 0.15
    assert DriveState.FOLLOWING in record.states
    # The nodes drive as the library does: in lock-step, only the middleware lies between.
    with MapStore.open(map_path, read_only=True) as store:
        loop = Course(ClosedLoopSettings()).loop(store, named_condition(CONDITION), DrivePlan())
        expected = np.array([step.world_T_base for step in loop.run()])
    count = min(len(expected), len(record.world_T_base))
    assert count > 100
    np.testing.assert_allclose(record.world_T_base[:count], expected[:count], atol=0.02)
    assert np.all(np.diff(record.run.stamps_ns) == 200_000_000), "no frame is missing"
