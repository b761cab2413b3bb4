"""Maps and runs to look at, in the viewer Rerun. Nothing here imports it until a recording is made."""

from vloc_ros.views.rerun_file import require_rerun, write_recording
from vloc_ros.views.scene import ClosureLines, Route, Scene, scene_of

__all__ = ["ClosureLines", "Route", "Scene", "require_rerun", "scene_of", "write_recording"]
