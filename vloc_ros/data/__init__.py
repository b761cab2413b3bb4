"""Recordings: one reader per format, trajectory files, and writers that convert one format into another."""

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.reader import DatasetReader, Trajectory, formats, open_recording

# Importing a reader registers it; formats are tried in this order.
from vloc_ros.data.kitti import KittiReader  # isort: skip
from vloc_ros.data.utias import UtiasReader  # isort: skip
from vloc_ros.data.euroc import EurocReader  # isort: skip
from vloc_ros.data.tum import TumReader  # isort: skip
from vloc_ros.data.bag import BagReader  # isort: skip
from vloc_ros.data.image_folder import ImageFolderReader  # isort: skip
from vloc_ros.data.writers import write_recording  # isort: skip

__all__ = [
    "BagReader",
    "DatasetReader",
    "EurocReader",
    "ImageFolderReader",
    "KittiReader",
    "StereoFrame",
    "Trajectory",
    "TumReader",
    "UtiasReader",
    "formats",
    "open_recording",
    "write_recording",
]
