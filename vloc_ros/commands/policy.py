"""``vloc policy``: the SROS 2 policy of the nodes, for the names that the topics have on this robot."""

from __future__ import annotations

import argparse
import sys

from vloc_ros.commands.common import Subparsers, add_command, add_remap, remappings

_EXAMPLES = """
  vloc policy > policy.xml
  vloc policy localization path_follower --namespace robot1 \\
      --remap left/image_rect:=/camera/camera/infra1/image_rect_raw > policy.xml
  ros2 security create_permission keystore /vloc_ros/localization policy.xml"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "policy", "print the SROS 2 policy of the nodes", _EXAMPLES, run)
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="of which nodes (default: all)")
    parser.add_argument("--namespace", default="/", help="in which the nodes run (default: /)")
    add_remap(parser, "a topic of the nodes that has another name here, as for ros2 run; may be given again")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from vloc_ros.interfaces.policy import policy_xml
    from vloc_ros.interfaces.table import NODES

    sys.stdout.write(policy_xml(args.namespace, remappings(args.remap), args.nodes or NODES))
    return 0
