"""Triangles: how the world is collected, and how it is stored for the renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.palette import Material

Array = NDArray[np.float64]
_CLUSTER = 64
"""Triangles per cluster: the unit of frustum culling."""
_TILE_M = 5.0


# Columns of the attributes of a triangle: three corners [m], then
NORMAL, UV, TINT, OPEN = 9, 18, 24, 27
_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class Mesh:
    """A triangle soup in the world frame, sorted into spatially compact clusters.

    What the renderer needs of a triangle lies together in memory; the properties are views of it.

    Attributes:
        attributes: (T, 32) float32: 3 corners, 3 normals, 3 surface coordinates, tint, 3 times openness, padding.
        labels: (T, 2) int32: :class:`Material`, and seed of the texture.
        cluster_start: (K + 1,) int64 first triangle of each cluster, and T.
        cluster_sphere: (K, 4) float64 bounding spheres (x, y, z, radius) [m].
    """

    attributes: NDArray[np.float32]
    labels: NDArray[np.int32]
    cluster_start: NDArray[np.int64]
    cluster_sphere: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def vertices(self) -> NDArray[np.float32]:
        """(T, 3, 3) corners [m]."""
        return self.attributes[:, :NORMAL].reshape(-1, 3, 3)

    @property
    def normals(self) -> NDArray[np.float32]:
        """(T, 3, 3) unit shading normals at the corners."""
        return self.attributes[:, NORMAL:UV].reshape(-1, 3, 3)

    @property
    def openness(self) -> NDArray[np.float32]:
        """(T, 3) share of the sky that each corner sees, 0 to 1."""
        return self.attributes[:, OPEN : OPEN + 3]

    @property
    def materials(self) -> NDArray[np.int32]:
        """(T,) numbers of the materials."""
        return self.labels[:, 0]

    def frozen(self) -> Mesh:
        """The same mesh behind read-only arrays (and one type for the compiler)."""
        mesh = Mesh(self.attributes.view(), self.labels.view(), self.cluster_start.view(), self.cluster_sphere.view())
        for array in (mesh.attributes, mesh.labels, mesh.cluster_start, mesh.cluster_sphere):
            array.setflags(write=False)
        return mesh


class MeshBuilder:
    """Collects triangles part by part."""

    def __init__(self) -> None:
        self._parts: list[tuple[Array, Array, Array, Array, int, int]] = []

    def add(
        self,
        material: Material,
        vertices: Array,
        uv: Array,
        tint: Array,
        seed: int = 0,
        normals: Array | None = None,
    ) -> None:
        """Add T triangles.

        Args:
            material: what they are made of.
            vertices: (T, 3, 3) corners [m], counter-clockwise seen from outside.
            uv: (T, 3, 2) surface coordinates [m].
            tint: (3,) or (T, 3) linear reflectance.
            seed: seed of the texture.
            normals: (T, 3, 3) shading normals; by default those of the triangles.
        """
        if normals is None:
            normals = np.repeat(_facet_normals(vertices)[:, None, :], 3, axis=1)
        self._parts.append((vertices, normals, uv, tint, int(material), seed % (1 << 30)))

    def build(self) -> Mesh:
        """Sort everything into clusters; every corner is taken to see the whole sky until that is computed."""
        count = sum(len(part[0]) for part in self._parts)
        attributes = np.zeros((count, _COLUMNS), dtype=np.float32)
        labels = np.empty((count, 2), dtype=np.int32)
        at = 0
        for vertices, normals, uv, tint, material, seed in self._parts:
            end = at + len(vertices)
            attributes[at:end, :NORMAL] = vertices.reshape(-1, 9)
            attributes[at:end, NORMAL:UV] = normals.reshape(-1, 9)
            attributes[at:end, UV:TINT] = uv.reshape(-1, 6)
            attributes[at:end, TINT:OPEN] = tint
            labels[at:end] = material, seed
            at = end
        attributes[:, OPEN : OPEN + 3] = 1.0
        order = _spatial_order(attributes[:, :NORMAL].reshape(-1, 3, 3))
        attributes, labels = attributes[order], labels[order]
        start = np.append(np.arange(0, count, _CLUSTER), count).astype(np.int64)
        return Mesh(attributes, labels, start, _bounding_spheres(attributes[:, :NORMAL].reshape(-1, 3, 3), start))


def _facet_normals(vertices: Array) -> Array:
    n = np.cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])
    return np.asarray(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12))


def _spatial_order(vertices: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order by size class first, so that one large triangle does not blow up the sphere of a cluster of leaves."""
    centre = vertices.mean(axis=1).astype(np.float64)
    extent = np.ptp(vertices, axis=1).max(axis=1).astype(np.float64)
    size_class = np.clip(np.floor(np.log2(np.maximum(extent, 1e-3)) / 2.0), -2, 6).astype(np.int64) + 2
    tile = _TILE_M * np.exp2(np.maximum(size_class - 3, 0).astype(np.float64) * 2.0)
    ix, iy = (((centre[:, i] - centre[:, i].min()) / tile).astype(np.int64) for i in range(2))
    morton = _interleave(ix) | (_interleave(iy) << 1)
    level = np.floor(centre[:, 2] / tile).astype(np.int64)
    return np.asarray(np.lexsort((level, morton, size_class)), dtype=np.int64)


def _interleave(x: NDArray[np.int64]) -> NDArray[np.int64]:
    x = x & 0xFFFF
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        x = (x | (x << shift)) & mask
    return x


def _bounding_spheres(vertices: NDArray[np.float32], start: NDArray[np.int64]) -> Array:
    flat = vertices.astype(np.float64)
    low = np.minimum.reduceat(flat.min(axis=1), start[:-1])
    high = np.maximum.reduceat(flat.max(axis=1), start[:-1])
    centre = 0.5 * (low + high)
    cluster = np.repeat(np.arange(len(centre)), np.diff(start))
    distance = np.linalg.norm(flat - centre[cluster][:, None, :], axis=2).max(axis=1)
    return np.hstack([centre, np.maximum.reduceat(distance, start[:-1])[:, None]])
