"""Reading and writing pose graphs, and what is said of malformed files."""

from __future__ import annotations

import logging
from pathlib import Path

import gtsam
import numpy as np
import pytest
from data_samples import development_data
from pose_graph_samples import square

from vloc_ros.data.files import NS_PER_S
from vloc_ros.data.trajectory import read_kitti_poses, read_tum
from vloc_ros.errors import DataError
from vloc_ros.pose_graph import PoseGraph
from vloc_ros.pose_graph.factors import between_factor, square_roots, to_values
from vloc_ros.pose_graph.files import OdometryEdges, RotationInformation, read_graph, write_g2o, write_kitti, write_tum
from vloc_ros.pose_graph.synthetic import two_laps

PLANAR = """VERTEX_SE2 0 0 0 0
VERTEX_SE2 1 1 0 0.5
# a comment

VERTEX_SE2 5 1 1 1
EDGE_SE2 0 1 1 0 0.5 100 1 2 90 3 80
EDGE_SE2 1 5 0.5 0.5 0.5 100 0 0 100 0 100
EDGE_SE2 1 5 0.5 0.5 0.5 100 0 0 100 0 100
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "graph.g2o"
    path.write_text(text)
    return path


def assert_same(first: PoseGraph, second: PoseGraph) -> None:
    for name in ("ids", "a", "b", "trusted"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("poses", "a_T_b", "information"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-12, atol=1e-12)


def test_planar_g2o(tmp_path):
    graph = read_graph(written(tmp_path, PLANAR))
    np.testing.assert_array_equal(graph.ids, [0, 1, 5])
    np.testing.assert_array_equal(graph.trusted, [True, False, False])
    np.testing.assert_array_equal(graph.information[0], [[100, 1, 2], [1, 90, 3], [2, 3, 80]])
    np.testing.assert_allclose(graph.a_T_b[0], [[np.cos(0.5), -np.sin(0.5), 1], [np.sin(0.5), np.cos(0.5), 0], [0, 0, 1]])
    assert (graph.a[1], graph.b[1]) == (graph.a[2], graph.b[2]) == (1, 2), "an edge given twice is kept twice"


@pytest.mark.parametrize("graph", [square(2), two_laps(80, 5, 3, 1)[0]], ids=["plane", "space"])
def test_round_trip(tmp_path, graph):
    write_g2o(tmp_path / "graph.g2o", graph)
    assert_same(read_graph(tmp_path / "graph.g2o"), graph)


def test_gtsam_reads_what_is_written(tmp_path):
    """Poses and measurements through gtsam's own reader; it takes g2o's information for that of a rotation vector."""
    graph = two_laps(80, 5, 3, 1)[0]
    write_g2o(tmp_path / "graph.g2o", graph)
    factors, values = gtsam.readG2o(str(tmp_path / "graph.g2o"), True)
    ours = read_graph(tmp_path / "graph.g2o", rotation=RotationInformation.ROTATION_VECTOR)
    for edge in range(0, len(graph.a), 7):
        expected = between_factor(ours, edge, square_roots(ours.information)[edge])
        assert factors.at(edge).keys() == expected.keys() and factors.at(edge).measured().equals(expected.measured(), 1e-9)
        assert factors.at(edge).error(values) == pytest.approx(expected.error(to_values(ours.poses)), rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(ours.information[0], graph.information[0] * np.outer([1] * 3 + [2] * 3, [1] * 3 + [2] * 3))


def test_toro_is_read_like_g2o(tmp_path):
    toro = "VERTEX2 0 0 0 0\nVERTEX2 1 1 0 0.5\nEDGE2 0 1 1 0 0.5 100 1 90 80 2 3\n"
    graph = read_graph(written(tmp_path, toro))
    np.testing.assert_array_equal(graph.information[0], [[100, 1, 2], [1, 90, 3], [2, 3, 80]])
    space = "EDGE3 0 1 1 2 3 0.1 0.2 0.3 " + " ".join(str(x) for x in np.eye(6)[np.triu_indices(6)] * 4)
    graph = read_graph(written(tmp_path, space))
    roll, pitch, yaw = 0.1, 0.2, 0.3
    expected = gtsam.Pose3(gtsam.Rot3.Ypr(yaw, pitch, roll), np.array([1.0, 2.0, 3.0])).matrix()
    np.testing.assert_allclose(graph.a_T_b[0], expected, atol=1e-12)
    np.testing.assert_allclose(graph.information[0], 4.0 * np.eye(6))


def test_edges_alone_get_poses_from_odometry(tmp_path):
    edges = "\n".join(line for line in PLANAR.splitlines() if line.startswith("EDGE"))
    graph = read_graph(written(tmp_path, edges.replace("1 5", "1 2")))
    np.testing.assert_allclose(graph.poses[1], graph.a_T_b[0])
    np.testing.assert_allclose(graph.poses[2], graph.a_T_b[0] @ graph.a_T_b[1])


def test_odometry_is_a_choice(tmp_path):
    path = written(tmp_path, PLANAR)
    assert read_graph(path, OdometryEdges.ALL).trusted.all()
    assert not read_graph(path, OdometryEdges.NONE).trusted.any()


def test_fixed_pose_comes_first(tmp_path, caplog):
    graph = read_graph(written(tmp_path, PLANAR + "FIX 5\n"))
    np.testing.assert_array_equal(graph.ids, [5, 0, 1])
    assert (graph.ids[graph.a[0]], graph.ids[graph.b[0]]) == (0, 1)
    with caplog.at_level(logging.WARNING):
        read_graph(written(tmp_path, PLANAR + "FIX 5 0\n"))
    assert "fixes several poses" in caplog.text


def test_unknown_tags_are_named_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        graph = read_graph(written(tmp_path, PLANAR + "VERTEX_XY 7 1 2\nVERTEX_XY 8 1 2\nEDGE_SE2_XY 0 7 1 1 1 0 1\n"))
    assert len(graph.a) == 3 and len(caplog.records) == 1
    assert "EDGE_SE2_XY (1 lines), VERTEX_XY (2 lines)" in caplog.text


MALFORMED = {
    "EDGE_SE2 0 1 1 0 x 1 0 0 1 0 1": "line 9 column 18: 'x' is not a number",
    "EDGE_SE2 0 1 1 0 nan 1 0 0 1 0 1": "line 9 column 18: 'nan' is not finite",
    "EDGE_SE2 0 1 1 0 0 1 0 0 1 0": "line 9 column 29: EDGE_SE2 has 10 values, it needs 11",
    "EDGE_SE2 0 1 1 0 0 1 0 0 1 0 1 7": "line 9 column 32: EDGE_SE2 has 12 values, it needs 11",
    "EDGE_SE2 0 9 1 0 0 1 0 0 1 0 1": "line 9 column 12: the edge names the unknown pose 9",
    "EDGE_SE2 1 1 1 0 0 1 0 0 1 0 1": "line 9 column 12: the edge joins pose 1 to itself",
    "EDGE_SE2 0 1.5 1 0 0 1 0 0 1 0 1": "line 9 column 12: '1.5' is not the number of a pose",
    "EDGE_SE2 0 -1 1 0 0 1 0 0 1 0 1": "line 9 column 12: '-1' is not the number of a pose",
    "EDGE_SE2 0 1 1 0 0 1 0 0 -1 0 1": "line 9 column 20: the information matrix is not positive definite",
    "EDGE_SE2 0 1 1 0 0 1 2 0 1 0 1": "line 9 column 20: the information matrix is not positive definite",
    "EDGE_SE2 0 1 1 0 0 0 0 0 1 0 1": "line 9 column 20: the information matrix is not positive definite",
    "VERTEX_SE2 1 0 0 0": "line 9 column 12: pose 1 was given before, in line 2",
    "VERTEX_SE3:QUAT 9 0 0 0 0 0 0 1": "line 9 column 1: VERTEX_SE3:QUAT is 3D, but the lines before it are 2D",
    "12 0 0 0": "line 9 column 1: a line of a pose graph begins with a tag",
    "FIX 77": "line 9 column 5: FIX names the unknown pose 77",
    "FIX one": "line 9 column 5: 'one' is not the number of a pose",
}


@pytest.mark.parametrize("line", list(MALFORMED))
def test_malformed_lines_are_named(tmp_path, line):
    with pytest.raises(DataError) as caught:
        read_graph(written(tmp_path, PLANAR + line + "\n"))
    assert f"{tmp_path / 'graph.g2o'} {MALFORMED[line]}" in str(caught.value)


def test_malformed_quaternion(tmp_path):
    with pytest.raises(DataError, match="line 1 column 25: the quaternion has length 0 instead of 1"):
        read_graph(written(tmp_path, "VERTEX_SE3:QUAT 0 0 0 0  0 0 0 0\n".replace("  ", " ").replace("0 0 0 0 0", "0 0 0 0 0", 1)))


def test_files_that_are_no_graphs(tmp_path):
    with pytest.raises(DataError, match="holds no edges of a pose graph"):
        read_graph(written(tmp_path, "VERTEX_SE2 0 0 0 0\n"))
    with pytest.raises(DataError, match="cannot read"):
        read_graph(tmp_path / "missing.g2o")
    (tmp_path / "binary.g2o").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="not a text file"):
        read_graph(tmp_path / "binary.g2o")


def test_trajectories(tmp_path):
    graph = square(2)
    write_tum(tmp_path / "poses.txt", graph)
    write_kitti(tmp_path / "kitti.txt", graph)
    tum, kitti = read_tum(tmp_path / "poses.txt"), read_kitti_poses(tmp_path / "kitti.txt")
    np.testing.assert_array_equal(tum.stamps_ns, np.arange(len(graph.ids)) * NS_PER_S)
    for poses in (tum.poses, kitti):
        np.testing.assert_allclose(poses[:, :2, 3], graph.poses[:, :2, 2], atol=1e-8)
        np.testing.assert_allclose(poses[:, :2, :2], graph.poses[:, :2, :2], atol=1e-8)


@pytest.mark.data
def test_csail_is_the_same_in_both_formats():
    folder = development_data("posegraphs/risam/experiments/datasets/csail")
    first, second = read_graph(folder / "csail.g2o"), read_graph(folder / "csail.toro")
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(np.stack([first.a, first.b]), np.stack([second.a, second.b]))
    np.testing.assert_allclose(first.a_T_b, second.a_T_b, atol=1e-5)
    np.testing.assert_allclose(first.information, second.information, rtol=1e-6, atol=1e-3)


@pytest.mark.data
def test_indefinite_information_of_a_real_file_is_named():
    path = development_data("posegraphs/risam/experiments/datasets/cubicle/cubicle.g2o")
    with pytest.raises(DataError, match="line 5753 column 64: the information matrix is not positive definite"):
        read_graph(path)
