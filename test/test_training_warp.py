"""Where a pixel is in another image, from depth and poses: what is hidden, out of view or in the sky is nowhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.sources.warp import positions_at, warp_by_depth


class TestWarp:
    """A wall 4 m away with a post in front of it 2 m away, seen from two places."""

    camera = StereoCamera(64, 48, 60.0, 60.0, 31.0, 23.0, 0.2)

    def inverse(self, post: slice) -> NDArray[np.float32]:
        inverse = np.full((48, 64), 1.0 / 4.0, dtype=np.float32)
        inverse[:, post] = 1.0 / 2.0
        return inverse

    def test_what_is_hidden_is_unknown(self) -> None:
        b_T_a = np.eye(4)
        b_T_a[0, 3] = -0.4  # camera b stands 0.4 m to the right: the wall moves 6 px to the left, the post 12 px
        warp = warp_by_depth(self.camera, self.inverse(slice(30, 36)), self.inverse(slice(18, 24)), b_T_a)
        known = np.isfinite(warp[10, :, 0])
        assert np.allclose(warp[10, 30:36, 0], np.arange(18, 24), atol=1e-4)
        assert np.allclose(warp[10, 40, :], [34.0, 10.0], atol=1e-4)
        assert not known[:6].any()  # out of view
        assert not known[24:30].any()  # behind the post in b
        assert known[6:24].all() and known[30:].all()

    def test_sky_and_what_is_behind_are_unknown(self) -> None:
        wall = self.inverse(slice(0, 0))
        sky = wall.copy()
        sky[:20] = 0.0
        assert not np.isfinite(warp_by_depth(self.camera, sky, wall, np.eye(4))[:20]).any()
        backwards = np.eye(4)
        backwards[2, 3] = -5.0  # b has driven past the wall
        assert not np.isfinite(warp_by_depth(self.camera, wall, wall, backwards)).any()

    def test_grazing_ground_is_not_lost(self) -> None:
        rows = np.arange(48, dtype=np.float32)[:, None] * np.ones((1, 64), dtype=np.float32)
        ground = np.maximum((rows - 23.0) / (60.0 * 1.0), 0.0).astype(np.float32)  # a camera 1 m above level ground
        b_T_a = np.eye(4)
        b_T_a[2, 3] = -0.7
        warp = warp_by_depth(self.camera, ground, ground, b_T_a)
        far = (slice(25, 30), slice(20, 44))
        assert np.isfinite(warp[far]).all()

    def test_positions_between_pixels(self) -> None:
        grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(8.0)), axis=2).astype(np.float32)
        warp = 2.0 * grid + 1.0
        warp[0, 0] = np.nan
        found = positions_at(warp, np.array([[3.25, 4.5], [9.0, 7.0], [0.8, 0.4], [0.2, 0.1]]))
        assert np.allclose(found[:2], [[7.5, 10.0], [19.0, 15.0]])
        assert np.allclose(found[2], [2.8, 1.4])  # next to the unknown: that of pixel (1, 0), moved by what is left over
        assert np.isnan(found[3]).all()
        assert positions_at(warp, np.zeros((0, 2))).shape == (0, 2)
