"""Place recognition: global descriptors, their index, and the gates and sequences between a search and a candidate."""

from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, create_descriptor, descriptors, register

__all__ = [
    "GlobalDescriptor",
    "Needs",
    "View",
    "create_descriptor",
    "descriptors",
    "register",
]
