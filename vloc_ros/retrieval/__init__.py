"""Place recognition: global descriptors, their index, and the gates and sequences between a search and a candidate."""

from vloc_ros.retrieval import gem, netvlad, weights_file
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, create_descriptor, descriptors, register, register_file

__all__ = [
    "GlobalDescriptor",
    "Needs",
    "View",
    "create_descriptor",
    "descriptors",
    "gem",
    "netvlad",
    "register",
    "register_file",
    "weights_file",
]
