"""Configuration of localisation."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param, section
from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings
from vloc_ros.retrieval.rerank import RerankSettings


@dataclass(frozen=True)
class LocalizationSettings:
    """When a pose against the map is believed, and for how long it is carried on without a fix."""

    submap_keyframes: int = param(2, "so many nearest keyframes are matched together", min=1, max=20, live=True)
    max_keyframe_distance: float = param(15.0, "keyframes farther away are not matched", unit="m", min=0.1, max=1000.0, live=True)
    window_px: float = param(30.0, "search window around a predicted position, at least", unit="px", min=2.0, max=1000.0, live=True)
    min_inliers: int = param(15, "fewest inliers of a fix when a prediction exists", min=6, max=1000, live=True)
    relocalise_min_inliers: int = param(30, "fewest inliers of a fix without a prediction", min=6, max=1000, live=True)
    relocalise_sure_inliers: int = param(
        60, "a fix without a prediction but with so many inliers needs no confirmation", min=6, max=10000, live=True
    )
    relocalise_min_ratio: float = param(0.4, "smallest share of inliers of a fix without a prediction", min=0.0, max=1.0, live=True)
    confirm_frames: int = param(2, "so many further frames must agree with an unsure relocalisation", min=1, max=20, live=True)
    descriptor: str = param(
        "auto",
        "global descriptor that proposes where a lost robot may be; auto: the map's own model (site), else place (hog where that "
        "cannot run, or describes the map already), or vlad for a map without images",
    )
    candidates: int = param(6, "so many similar keyframes are tried in a relocalisation", min=1, max=100, live=True)
    condition: str = param(
        "", "in which the live images are taken, for descriptors that know conditions; empty: inferred from each image", live=True
    )
    coarse_to_fine: CoarseToFineSettings = section(CoarseToFineSettings)
    rerank: RerankSettings = section(RerankSettings, settle=1, max_ms=300.0)
    sweep: int = param(3, "so many further keyframes, one after the other along the path, are tried too", min=0, max=100, live=True)
    relocalise_window_px: float = param(
        80.0,
        "search window around the positions in a candidate keyframe, where matching without one fails",
        unit="px",
        min=2.0,
        max=1000.0,
        live=True,
    )
    relocalise_after: int = param(3, "search the whole map after so many frames without a fix", min=1, max=1000, live=True)
    fix_sigma_m: float = param(
        0.02, "position uncertainty of a fix, at least (map and calibration)", unit="m", min=0.0, max=10.0, live=True
    )
    fix_sigma_rad: float = param(0.003, "rotation uncertainty of a fix, at least", unit="rad", min=0.0, max=1.0, live=True)
    blind_sigma_mps: float = param(
        1.5, "growth of the position uncertainty without odometry", unit="m/s", min=0.0, max=50.0, live=True
    )
    blind_sigma_radps: float = param(
        0.5, "growth of the rotation uncertainty without odometry", unit="rad/s", min=0.0, max=10.0, live=True
    )
    lost_sigma_m: float = param(
        0.5, "position uncertainty (one sigma) at which the robot is lost", unit="m", min=0.01, max=100.0, live=True
    )
    lost_sigma_rad: float = param(
        0.2, "rotation uncertainty (one sigma) at which the robot is lost", unit="rad", min=0.001, max=3.0, live=True
    )
    lost_after_s: float = param(20.0, "time without a fix after which the robot is lost", unit="s", min=0.1, max=3600.0, live=True)
