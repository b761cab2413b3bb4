"""Where places to learn from are: the simulated world, fixed cameras, photos, data sets and recordings. Needs no torch."""

from vloc_ros.training.place_sources.dataset import DatasetPlaces
from vloc_ros.training.place_sources.photos import PhotoPlaces
from vloc_ros.training.place_sources.simulated import OverlapSettings, SimulatedPlaces
from vloc_ros.training.place_sources.static import StaticPlaces

__all__ = ["DatasetPlaces", "OverlapSettings", "PhotoPlaces", "SimulatedPlaces", "StaticPlaces"]
