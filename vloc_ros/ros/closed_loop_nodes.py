"""Which nodes with which parameters make a closed loop in simulation, for `vloc up` and the launch file. Imports no ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vloc_ros.closed_loop import ClosedLoopSettings, describe, site_of
from vloc_ros.config import to_flat_dict
from vloc_ros.errors import ConfigError
from vloc_ros.mapping import MapStore
from vloc_ros.processes import NodeSpec
from vloc_ros.ros.node_settings import numbers_of_base_T_camera
from vloc_ros.runs import truth_file
from vloc_ros.simulation import UTIAS_CAMERA, Site, StereoRig

MODES = ("teach", "repeat")
_LOCKSTEP_WATCHDOG_S = 30.0


@dataclass(frozen=True, slots=True)
class ClosedLoopNodes:
    """Simulator and localization, and (to repeat) the path follower.

    Attributes:
        mode: teach or repeat.
        map: file of the map; the truth of its keyframes lies beside it.
        site: where to teach; to repeat, the map knows.
        scale: resolution of the cameras to teach with; to repeat, the map knows.
        out: folder of the record; None for none.
        settings: of localisation and drive.
        simulation: further parameters of the simulator, such as condition, lockstep and laps.
        follower: further parameters of the path follower.
    """

    mode: str
    map: Path
    site: Site = field(default_factory=lambda: Site("site", 1))
    scale: float = 1.0
    out: Path | None = None
    settings: ClosedLoopSettings = field(default_factory=ClosedLoopSettings)
    simulation: Mapping[str, Any] = field(default_factory=dict)
    follower: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """ROS parameters by node.

        Raises:
            ConfigError: the mode is unknown.
            MapError: to repeat, there is no map, or it was not taught in the simulated world.
        """
        if self.mode not in MODES:
            raise ConfigError(f"mode '{self.mode}' is not one of: {', '.join(MODES)}")
        site, scale = (self.site, self.scale) if self.mode == "teach" else _of_map(self.map)
        nodes = {"simulator": self._simulator(site, scale), "localization": self._localization(site, scale)}
        if self.mode == "repeat":
            nodes["path_follower"] = self._path_follower()
        return nodes

    def remappings(self, node: str) -> dict[str, str]:
        """Topics of a node by other names: the follower steers by the wheels."""
        return {"odometry": "odom"} if node == "path_follower" and self.settings.drive.use_wheels else {}

    def specs(self) -> list[NodeSpec]:
        """The nodes as processes; the end of the simulator is the end of the drive.

        Raises:
            VlocError: as :meth:`parameters`.
        """
        return [NodeSpec(name, name, values, self.remappings(name)) for name, values in self.parameters().items()]

    @property
    def _lockstep(self) -> bool:
        return bool(self.simulation.get("lockstep", False))

    def _simulator(self, site: Site, scale: float) -> dict[str, Any]:
        return {
            **to_flat_dict(self.settings.drive),
            "driver": "operator" if self.mode == "teach" else "topic",
            "site": site.name,
            "seed": site.seed,
            "length": float(site.length_m),
            "shape": site.shape.value,
            "layout": site.layout.value,
            "scale": float(scale),
            "truth": str(truth_file(self.map)),
            "out": None if self.mode == "teach" or self.out is None else str(self.out),
            **self.simulation,
        }

    def _localization(self, site: Site, scale: float) -> dict[str, Any]:
        rig = StereoRig().scaled(scale)
        of_localisation = {name: value for name, value in to_flat_dict(self.settings).items() if not name.startswith("drive.")}
        return {
            **of_localisation,
            "use_sim_time": True,
            "mode": self.mode,
            "map": str(self.map),
            "out": None if self.out is None else str(self.out),
            "source": describe(site),
            "base_T_camera": numbers_of_base_T_camera(rig.base_T_camera),
            "use_wheel_odometry": self.settings.drive.use_wheels and self.mode == "repeat",
            "camera.type": "stereo",
            "qos.reliability": "reliable",
            "qos.depth": 20 if self._lockstep else 2,
            "sync.slop": 0.0,
        }

    def _path_follower(self) -> dict[str, Any]:
        several = self.simulation.get("laps", 1) > 1 or self.simulation.get("duration", 0.0) > 0.0
        values = {**to_flat_dict(self.settings.drive.follower), "use_sim_time": True, "from_start": self.settings.drive.from_start}
        if several:
            values["loop"] = True
        if self._lockstep:  # the robot waits for the images, however long they take
            values["watchdog"] = _LOCKSTEP_WATCHDOG_S
        return {**values, **self.follower}


def _of_map(path: Path) -> tuple[Site, float]:
    """Site and resolution of a map that was taught in the simulated world."""
    with MapStore.open(path, read_only=True) as store:
        return site_of(store), store.camera.width / UTIAS_CAMERA.width
