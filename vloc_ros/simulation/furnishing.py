"""What stands beside the track: houses, furniture of the street, trees and bushes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation import buildings, props, vegetation
from vloc_ros.simulation.parking import ParkingSpot, find_usual_parking
from vloc_ros.simulation.plot import CORRIDOR_M, Plot

Array = NDArray[np.float64]
_STEEPEST_FALL_M = 1.8
"""A house finds no place where the ground under it falls by more than this."""


def build_houses(plot: Plot) -> None:
    """Houses that face the track."""
    rng = plot.rng
    for station in plot.stations(21.0):
        width, depth = rng.uniform(7.0, 13.0), rng.uniform(6.0, 9.0)
        clearance, side = rng.uniform(3.2, 9.0), plot.side()
        for retreat in (0.0, 5.0, 10.0, 16.0, 22.0):  # in the inside of a bend a house may only fit further away
            centre, heading = plot.beside(station, side * (clearance + retreat + 0.5 * depth))
            if not plot.in_row(station) and claim_house(plot, centre, heading, width, depth):
                break
        else:
            continue
        yaw = heading + (0.0 if side > 0 else np.pi) + rng.normal(scale=0.12)
        storeys = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
        buildings.add_house(plot.builder, np.append(centre, house_floor(plot, centre, width)), yaw, width, depth, storeys, rng)


def claim_house(plot: Plot, centre: Array, heading: float, width: float, depth: float) -> bool:
    """Occupy the ground of a house along a heading [rad] if it is free and level enough."""
    along = np.array([np.cos(heading), np.sin(heading)])
    footprint = [centre + along * t * width for t in (-0.36, 0.0, 0.36)]
    if np.ptp(plot.terrain.height(_corners(centre, width))) > _STEEPEST_FALL_M or not plot.claim(footprint, 0.62 * depth, 1.6):
        return False
    plot.bare += [(float(x), float(y), 0.62 * depth) for x, y in footprint]
    return True


def house_floor(plot: Plot, centre: Array, width: float) -> float:
    """Height of the floor of a house [m]."""
    return float(np.mean(plot.terrain.height(_corners(centre, width)))) + 0.1


def _corners(centre: Array, width: float) -> Array:
    return np.asarray(centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.4 * width)


def build_furniture(plot: Plot) -> tuple[list[Array], list[ParkingSpot]]:
    """Fences, lamps, signs, crates and stones; returns the positions of the lights, and where cars usually stand."""
    rng = plot.rng
    for station in plot.stations(24.0):
        _build_fence(plot, station, plot.side() * rng.uniform(2.3, 4.5), int(rng.integers(4, 8)))
    lamps = []
    for centre, heading, side in plot.spots(26.0, 1.9, 2.8, 0.3):
        yaw = heading - side * 0.5 * np.pi
        lamps.append(props.add_lamp_post(plot.builder, plot.ground(centre), yaw, rng))
    for centre, heading, side in plot.spots(17.0, 2.1, 3.4, 0.3):
        props.add_sign(plot.builder, plot.ground(centre), heading + np.pi - side * rng.uniform(-0.3, 0.9), rng)
    parking = find_usual_parking(plot)
    for centre, heading, _ in plot.spots(30.0, 2.2, 5.0, 0.7):
        props.add_crates(plot.builder, _lowest(plot, centre, 0.45), heading + rng.uniform(0.0, 1.0), rng)
    for centre, _, _ in plot.spots(1.6, 1.6, 9.0, 0.1):
        size = min(float(np.exp(rng.uniform(-2.1, 0.0))), plot.room(centre) / 0.8)
        props.add_stone(plot.builder, plot.ground(centre), size, rng)
    return lamps, parking


def plant(plot: Plot, bare: bool) -> None:
    """Trees and bushes, dense in leaves near the track and coarser further away; grass at the edge of the track.

    Args:
        plot: where.
        bare: without leaves; the same random numbers are drawn either way.
    """
    rng, low, high = plot.rng, plot.terrain.low, plot.terrain.high
    for centre, _, _ in plot.spots(4.0, 2.8, 12.0, 1.2):
        _plant_tree(plot, centre, min(rng.uniform(3.5, 9.0), plot.room(centre) / 0.5), bare)
    for centre, _, _ in plot.spots(4.5, 2.2, 8.0, 0.5):
        size = min(rng.uniform(0.6, 1.7), plot.room(centre) / 0.75)
        vegetation.add_bush(plot.builder, plot.ground(centre), size, int(rng.integers(300, 600)), rng, bare=bare)
    for centre in plot.scatter(low, high, 1.0 / 75.0, 13.0, 1.6):
        _plant_tree(plot, centre, rng.uniform(6.0, 13.0), bare)
    belt = 90.0
    for centre in plot.scatter(low - belt, high + belt, 1.0 / 130.0, 36.0, 1.6):
        _plant_tree(plot, centre, rng.uniform(7.0, 16.0), bare)
    station = rng.uniform(0.0, plot.route.length_m, int(16.0 * plot.route.length_m))
    lateral = rng.choice([-1.0, 1.0], len(station)) * (1.25 + rng.exponential(2.0, len(station)))
    tufts = plot.beside_many(station, lateral)
    tufts = tufts[plot.from_track(tufts) > 1.15]
    vegetation.add_grass(plot.builder, plot.terrain.on_ground(tufts), plot.terrain.normal(tufts), rng, pale=bare)


def _plant_tree(plot: Plot, centre: Array, height: float, bare: bool) -> None:
    # Broad-leaved and coniferous trees grow in groups.
    seed, ground = plot.terrain.seed, plot.ground(centre)
    group = np.sin(centre[0] / 23.0 + seed) + np.sin(centre[1] / 19.0 + 2.0 * seed)
    leaves = vegetation.leaves_at(float(plot.from_track(centre)))
    if group + plot.rng.normal(scale=0.5) > 0.7:
        vegetation.add_conifer(plot.builder, ground, height, leaves, plot.rng)
    else:
        vegetation.add_broadleaf(plot.builder, ground, height, leaves, plot.rng, bare=bare)
    plot.bare.append((float(centre[0]), float(centre[1]), 0.16 * height))


def _build_fence(plot: Plot, station: float, lateral: float, count: int) -> None:
    stations = np.asarray(station + 2.0 * np.arange(count), dtype=np.float64)
    posts = plot.beside_many(stations, np.full(count, lateral))
    in_row = plot.in_row(station) or plot.in_row(float(stations[-1]))
    if in_row or plot.from_track(posts).min() < CORRIDOR_M + 0.5 or not all(plot.is_free(post, 0.3) for post in posts):
        return
    for post in posts:
        plot.occupy(post, 0.4)
    props.add_fence(plot.builder, plot.terrain.on_ground(posts), plot.rng)


def _lowest(plot: Plot, centre: Array, reach: float) -> Array:
    """(3,) point at the lowest height of the ground within a square: nothing flat floats over a slope."""
    around = centre + np.array([[0, 0], [-1, -1], [1, -1], [1, 1], [-1, 1]]) * reach
    return np.append(centre, plot.terrain.height(around).min())
