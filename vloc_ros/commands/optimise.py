"""``vloc optimise``: labels for the loop closures of any pose graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows

_EXAMPLES = """
  vloc optimise graph.g2o --out judged                   judged/labels.csv says which closures are false, and why
  vloc optimise old.graph --out judged --export tum      a TORO file; the optimised trajectory too
  vloc optimise graph.g2o --out judged --set gnc.probability=0.999 --json"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "optimise", "robust optimisation of a pose graph (g2o, TORO), which labels its loop closures", _EXAMPLES, run
    )
    parser.add_argument("graph", type=Path, metavar="GRAPH", help="file in g2o's or TORO's format, in the plane or in space")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder (new or empty) for labels.csv, optimised.g2o, graph.png and report.html",
    )
    parser.add_argument(
        "--odometry",
        choices=["consecutive", "all", "none"],
        default="consecutive",
        help="edges that are never outliers: those between consecutive numbers (default), all, none",
    )
    parser.add_argument(
        "--rotation",
        choices=["quaternion", "rotation_vector"],
        default="quaternion",
        help="what the information of 3D rotations in a g2o file is of: as g2o defines it (default), or as gtsam writes it",
    )
    parser.add_argument(
        "--export",
        choices=["tum", "kitti"],
        action="append",
        default=[],
        help="write optimised_tum.txt or optimised_kitti.txt too",
    )
    parser.add_argument("--config", type=Path, help="YAML file with the sections gnc and labels")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, e.g. gnc.probability=0.999")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Solve, label, write."""
    from vloc_ros.config import from_dict, load_yaml, parse_assignments, replace
    from vloc_ros.data.files import naming
    from vloc_ros.data.output import output_folder, write_text
    from vloc_ros.evaluation.plot_graph import graph_report
    from vloc_ros.pose_graph.files import OdometryEdges, RotationInformation, read_graph, write_g2o, write_kitti, write_tum
    from vloc_ros.pose_graph.judged import judge_graph
    from vloc_ros.pose_graph.settings import PoseGraphSettings

    settings = PoseGraphSettings()
    if args.config is not None:
        with naming(args.config):
            settings = from_dict(PoseGraphSettings, load_yaml(args.config))
    settings = replace(settings, parse_assignments(args.set))
    graph = read_graph(args.graph, OdometryEdges(args.odometry), RotationInformation(args.rotation))
    with output_folder(args.out) as folder:
        with naming(args.graph):
            judged = judge_graph(graph, settings)
        write_text(folder / "labels.csv", judged.csv())
        write_g2o(folder / "optimised.g2o", judged.optimised)
        for name, write in (("tum", write_tum), ("kitti", write_kitti)):
            if name in args.export:
                write(folder / f"optimised_{name}.txt", judged.optimised)
        page, picture = graph_report(f"Pose graph {args.graph.name}", judged)
        picture.savefig(folder / "graph.png", facecolor="white")
        write_text(folder / "report.html", page)
    summary = judged.summary()
    text = rows(
        [
            ("poses", summary["poses"]),
            ("odometry edges", summary["odometry_edges"]),
            ("inliers", summary["inliers"]),
            ("outliers", summary["outliers"]),
            ("undecided", summary["undecided"]),
            ("rounds", summary["iterations"] if summary["converged"] else f"{summary['iterations']}, not converged"),
            ("time", f"{summary['seconds']:.2f} s"),
            ("labels", args.out / "labels.csv"),
            ("report", args.out / "report.html"),
        ]
    )
    emit(args, summary, text)
    return 0
