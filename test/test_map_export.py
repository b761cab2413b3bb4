import numpy as np
import pytest
from map_samples import COVARIANCE, add_keyframe, create, pose, stamp, teach

from vloc_ros.data.g2o import to_g2o
from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping.export import ExportFormat, edge_information, export_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


@pytest.fixture
def path(tmp_path):
    return teach(tmp_path / "site.vloc", keyframes=5, sessions=2)


def correlated_covariance(seed=0):
    root = np.random.default_rng(seed).normal(size=(6, 6)) * [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    return root.T @ root + np.diag([1e-4] * 3 + [1e-6] * 3)


def data_lines(out):
    return [line.split() for line in out.read_text().splitlines() if not line.startswith("#")]


def test_tum(path, tmp_path):
    result = export_map(path, tmp_path / "route.tum", ExportFormat.TUM, session=1)
    rows = data_lines(result.path)
    assert result.keyframes == len(rows) == 5
    assert [row[0].replace(".", "") for row in rows] == [str(stamp(number)) for number in range(1, 6)]
    for number, row in enumerate(rows, start=1):
        values = np.array(row[1:], dtype=float)
        np.testing.assert_allclose(se3.from_quaternion(values[:3], values[3:]), pose(1, number), atol=1e-7)
    assert export_map(path, tmp_path / "all.tum", "tum").keyframes == 10


def test_evo_reads_tum_and_kitti(path, tmp_path):
    file_interface = pytest.importorskip("evo.tools.file_interface", reason="evo is a development tool")
    export_map(path, tmp_path / "route.tum", "tum", session=2)
    export_map(path, tmp_path / "route.txt", "kitti", session=2)
    tum = file_interface.read_tum_trajectory_file(str(tmp_path / "route.tum"))
    kitti = file_interface.read_kitti_poses_file(str(tmp_path / "route.txt"))
    for number in range(1, 6):
        np.testing.assert_allclose(tum.poses_se3[number - 1], pose(2, number), atol=1e-7)
        np.testing.assert_allclose(kitti.poses_se3[number - 1], pose(2, number) @ se3.BASE_T_OPTICAL, atol=1e-7)
    np.testing.assert_allclose(tum.timestamps, [stamp(number) * 1e-9 for number in range(1, 6)], atol=1e-6)


def test_kitti_poses_are_of_the_left_camera(path, tmp_path):
    rows = data_lines(export_map(path, tmp_path / "route.txt", "kitti", session=1).path)
    np.testing.assert_allclose(np.array(rows[2], float).reshape(3, 4), (pose(1, 3) @ se3.BASE_T_OPTICAL)[:3], atol=1e-7)


def test_g2o_weighs_errors_as_the_covariance_does():
    """chi2 of a small error is the same in g2o's coordinates (t, vector part of the quaternion) and in ours."""
    edge = Edge(KeyframeId(1, 1), KeyframeId(1, 2), EdgeKind.ODOMETRY, se3.exp(np.full(6, 0.3)), correlated_covariance())
    information, rng = to_g2o(edge_information(edge)), np.random.default_rng(2)
    for _ in range(20):
        xi = rng.normal(size=6) * 1e-4
        delta = se3.between(edge.a_T_b, edge.a_T_b @ se3.exp(xi))
        error = np.concatenate([delta[:3, 3], se3.quaternion(delta)[:3]])
        assert error @ information @ error == pytest.approx(xi @ np.linalg.solve(edge.covariance, xi), rel=1e-3)


def test_gtsam_reads_g2o(tmp_path):
    gtsam = pytest.importorskip("gtsam", reason="gtsam is not installed")
    with create(tmp_path / "site.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "x")
        ids = [add_keyframe(store, session).id for _ in range(3)]
        spatial = Edge(ids[0], ids[2], EdgeKind.SPATIAL, se3.exp(np.full(6, 0.2)), correlated_covariance(1))
        store.add_edge(spatial)
    result = export_map(store.path, tmp_path / "graph.g2o", "g2o")
    assert (result.keyframes, result.edges) == (3, 3)
    graph, values = gtsam.readG2o(str(result.path), True)
    for number in range(3):
        np.testing.assert_allclose(values.atPose3(number).matrix(), pose(1, number + 1), atol=1e-7)
    factor = next(graph.at(i) for i in range(graph.size()) if list(graph.at(i).keys()) == [0, 2])
    np.testing.assert_allclose(factor.measured().matrix(), spatial.a_T_b, atol=1e-7)
    swap = np.r_[3:6, 0:3]  # gtsam puts rotation first
    np.testing.assert_allclose(
        factor.noiseModel().information(), to_g2o(edge_information(spatial))[np.ix_(swap, swap)], rtol=1e-4, atol=1e-2
    )


def test_g2o_of_one_session_leaves_out_edges_to_others(path, tmp_path):
    with MapStore.open(path) as store:
        store.add_edge(Edge(KeyframeId(1, 2), KeyframeId(2, 2), EdgeKind.SPATIAL, np.eye(4), COVARIANCE))
    assert export_map(path, tmp_path / "all.g2o", "g2o").edges == 9
    assert export_map(path, tmp_path / "one.g2o", "g2o", session=2).edges == 4
    assert "# vertex 0 is keyframe s2/k1" in (tmp_path / "one.g2o").read_text()


def test_a_singular_covariance_is_named(path, tmp_path):
    with MapStore.open(path) as store:
        flat = np.diag([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
        store.add_edge(Edge(KeyframeId(1, 1), KeyframeId(1, 5), EdgeKind.SPATIAL, np.eye(4), flat))
    with pytest.raises(MapError, match="s1/k1 to s1/k5 has a singular covariance"):
        export_map(path, tmp_path / "graph.g2o", "g2o")
    assert not (tmp_path / "graph.g2o").exists()


def test_images_are_the_stored_bytes(path, tmp_path):
    result = export_map(path, tmp_path / "pictures", "images")
    assert result.keyframes == 10
    names = sorted(file.name for file in result.path.iterdir())
    assert names == [f"s{session}_k{number:06d}.jpg" for session in (1, 2) for number in range(1, 6)]
    with MapStore.open(path) as store:
        row = store.database.rows("image", "WHERE session = 1 AND keyframe = 2")[0]
    assert (result.path / "s1_k000002.jpg").read_bytes() == row[2]


def test_what_cannot_be_exported_says_why(path, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(MapError, match="cannot be exported as 'rosbag'; known: tum, kitti, g2o, images"):
        export_map(path, out, "rosbag")
    with pytest.raises(MapError, match="no keyframes in session 9"):
        export_map(path, out, "tum", session=9)
    with pytest.raises(MapError, match=r"nowhere/out cannot be written: No such file"):
        export_map(path, tmp_path / "nowhere" / "out", "tum")
    with pytest.raises(MapError, match="there is no map"):
        export_map(tmp_path / "absent.vloc", out, "tum")
    out.mkdir()
    for format in ExportFormat:
        with pytest.raises(MapError, match="exists already"):
            export_map(path, out, format)
