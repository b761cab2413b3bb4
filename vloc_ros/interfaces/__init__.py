"""What the nodes show to the outside: topics, services and parameters, and the files that are made from that. Imports no ROS."""

from vloc_ros.interfaces.description import NodeInterface, Service, Topic
from vloc_ros.interfaces.table import EVERY_NODE, NODES, SERVICES, TOPICS

__all__ = ["EVERY_NODE", "NODES", "SERVICES", "TOPICS", "NodeInterface", "Service", "Topic"]
