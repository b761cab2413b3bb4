"""What computes networks of local features: ONNX Runtime, OpenVINO or torch, behind one contract; imported when asked for."""

from vloc_ros.features.engines.choice import load_engine, load_int8_engine
from vloc_ros.features.engines.contract import Engine, Maps

__all__ = ["Engine", "Maps", "load_engine", "load_int8_engine"]
