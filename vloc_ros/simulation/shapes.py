"""Building blocks of objects: quads, boxes, tubes and lumps, with surface coordinates in metres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Patch(NamedTuple):
    """T triangles: (T, 3, 3) corners [m], (T, 3, 2) surface coordinates [m], (T, 3, 3) unit normals."""

    vertices: Array
    uv: Array
    normals: Array


def rise(height: float) -> Array:
    """(3,) vector straight up [m]."""
    return np.array([0.0, 0.0, height])


def join(patches: list[Patch]) -> Patch:
    """All triangles of several patches."""
    return Patch(*(np.concatenate(column) for column in zip(*patches, strict=True)))


def moved(patch: Patch, origin: Array, yaw: float, up: Array | None = None) -> Patch:
    """Turned by ``yaw`` [rad] about z, tilted until z points along the unit vector ``up``, then put at ``origin`` (3,) [m]."""
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    if up is not None:
        rotation = _tilt(up) @ rotation
    return Patch(patch.vertices @ rotation.T + origin, patch.uv, patch.normals @ rotation.T)


def _tilt(up: Array) -> Array:
    """(3, 3) smallest rotation that takes z to an upward unit vector (Rodrigues)."""
    x, y, z = up
    k = 1.0 / (1.0 + z)
    return np.array([[1.0 - k * x * x, -k * x * y, x], [-k * x * y, 1.0 - k * y * y, y], [-x, -y, z]])


def quad(origin: Array, along: Array, up: Array, uv_origin: tuple[float, float] = (0.0, 0.0)) -> Patch:
    """A parallelogram; it faces ``along`` x ``up``. Its surface coordinates run along both edges."""
    origin, along, up = (np.asarray(v, dtype=np.float64) for v in (origin, along, up))
    corners = np.array([origin, origin + along, origin + along + up, origin + up])
    width, height = float(np.linalg.norm(along)), float(np.linalg.norm(up))
    uv = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]]) + uv_origin
    normal = np.cross(along, up)
    index = np.array([[0, 1, 2], [0, 2, 3]])
    return Patch(corners[index], uv[index], np.broadcast_to(normal / np.linalg.norm(normal), (2, 3, 3)).copy())


def triangle(a: Array, b: Array, c: Array) -> Patch:
    """One triangle whose surface coordinates start at ``a`` and run along ``ab``."""
    a, b, c = (np.asarray(v, dtype=np.float64) for v in (a, b, c))
    along = (b - a) / np.linalg.norm(b - a)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    up = np.cross(normal, along)
    uv = np.array([[p @ along, p @ up] for p in (a - a, b - a, c - a)])
    return Patch(np.array([[a, b, c]]), uv[None], np.broadcast_to(normal, (1, 3, 3)).copy())


def box(size: tuple[float, float, float], centre: tuple[float, float, float]) -> Patch:
    """An axis-aligned box with outward faces (no bottom); surface coordinates differ from face to face."""
    (dx, dy, dz), (cx, cy, cz) = size, centre
    x0, x1, y0, y1, z0, z1 = cx - dx / 2, cx + dx / 2, cy - dy / 2, cy + dy / 2, cz - dz / 2, cz + dz / 2
    ex, ey, ez = np.array([dx, 0.0, 0.0]), np.array([0.0, dy, 0.0]), np.array([0.0, 0.0, dz])
    return join(
        [
            quad(np.array([x0, y0, z0]), ex, ez, (0.0, z0)),
            quad(np.array([x1, y0, z0]), ey, ez, (dx, z0)),
            quad(np.array([x1, y1, z0]), -ex, ez, (dx + dy, z0)),
            quad(np.array([x0, y1, z0]), -ey, ez, (2 * dx + dy, z0)),
            quad(np.array([x0, y0, z1]), ex, ey, (cx + 31.0, cy)),
        ]
    )


def tube(path: Array, radii: Array, sides: int) -> Patch:
    """A round, possibly tapering tube along (N, 3) points with (N,) radii [m]; open at both ends."""
    return tubes(path[None], radii[None], sides)


def tubes(paths: Array, radii: Array, sides: int) -> Patch:
    """M tubes at once, along (M, N, 3) points with (M, N) radii [m]."""
    direction = np.gradient(paths, axis=1)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    across = np.where(np.abs(direction[:, :1, :1]) < 0.7, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    side = np.cross(direction, np.broadcast_to(across, direction.shape))
    side /= np.linalg.norm(side, axis=2, keepdims=True)
    other = np.cross(direction, side)
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    around = np.cos(angle)[:, None] * side[:, :, None] + np.sin(angle)[:, None] * other[:, :, None]
    rings = paths[:, :, None] + radii[..., None, None] * around
    steps = np.linalg.norm(np.diff(paths, axis=1), axis=2)
    station = np.concatenate([np.zeros((len(paths), 1)), np.cumsum(steps, axis=1)], axis=1)
    girth = radii.max(axis=1)[:, None, None] * angle
    uv = np.stack(np.broadcast_arrays(girth, station[..., None]), axis=3)
    index = np.arange(rings[..., 0].size).reshape(rings.shape[:3])
    a, b, c, d = (k.ravel() for k in (index[:, :-1, :-1], index[:, :-1, 1:], index[:, 1:, 1:], index[:, 1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return Patch(rings.reshape(-1, 3)[faces], uv.reshape(-1, 2)[faces], around.reshape(-1, 3)[faces])


def lump(size: Array, detail: int, roughness: float, rng: np.random.Generator) -> Patch:
    """A closed irregular lump (stone, car body of a bush) around the origin with (3,) half axes ``size`` [m].

    Args:
        size: half axes [m].
        detail: subdivisions of an octahedron; 8 * 4**detail triangles.
        roughness: relative depth of its dents.
        rng: source of its shape.
    """
    directions, faces = _octasphere(detail)
    radius = np.ones(len(directions))
    for _ in range(9):  # a stone is what is left when planes have cut a ball
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        reach = 1.0 - roughness * rng.uniform(0.25, 1.0)
        facing = np.maximum(directions @ axis, 1e-6)
        radius = np.minimum(radius, np.where(facing > reach, reach / facing, radius))
    points = directions * radius[:, None] * size
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    # Each facet is textured along the axis it faces most.
    axes = np.array([[1, 2], [0, 2], [0, 1]])[np.abs(normal).argmax(axis=1)]
    uv = np.take_along_axis(corners, np.broadcast_to(axes[:, None, :], (len(corners), 3, 2)), axis=2)
    return Patch(corners, uv, np.repeat(normal[:, None], 3, axis=1))


def _octasphere(detail: int) -> tuple[Array, NDArray[np.int64]]:
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(detail):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = points[unique].sum(axis=1)
        ab, bc, ca = (len(points) + inverse.reshape(3, -1))[:3]
        points = np.vstack([points, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        a, b, c = faces.T
        faces = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return points, faces.astype(np.int64)
