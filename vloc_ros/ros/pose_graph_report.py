"""What the diagnostics say of a pose graph. Imports no ROS."""

from __future__ import annotations

from vloc_ros.ros.pose_graph_keeper import GraphKeeper
from vloc_ros.ros.pose_graph_map import keyframe_of


def report(keeper: GraphKeeper) -> dict[str, str]:
    """Keys and values: sizes, labels, what waits and what was rejected with the reason and the last pair, and the solver."""
    graph, statistics, solver = keeper.graph, keeper.statistics, keeper.solver
    values = {
        "revision": str(graph.revision),
        "keyframes": str(len(graph)),
        "sessions": str(len(graph.chains())),
        "closures": str(len(graph.closures)),
        **{f"label_{label.value}": str(count) for label, count in graph.book.counts().items()},
        "label_flips": str(graph.book.flip_count),
        "candidates_waiting": str(graph.waiting),
        "candidates_replaced": str(graph.duplicates_replaced),
        "solving": str(solver.busy).lower(),
        "solved": str(statistics.solved),
        "solves_failed": str(statistics.failed),
        "solve_seconds": f"{statistics.last_seconds:.3f}",
        "solve_seconds_longest": f"{statistics.longest_seconds:.3f}",
        "solve_poses": str(statistics.poses),
        "solve_closures": str(statistics.closures),
        "solver_pid": "" if solver.pid is None else str(solver.pid),
        "solver_restarts": str(solver.restarts),
        "solver_start_seconds": f"{solver.start_seconds:.3f}",
    }
    values |= {f"odometry_from_{source}": str(count) for source, count in keeper.odometry_sources.items()}
    for reason, count in graph.rejections.counts.items():
        a, b = graph.rejections.last[reason]
        last = str(keyframe_of(a)) if a == b else f"{keyframe_of(a)} - {keyframe_of(b)}"
        values[f"rejected_{reason.name.lower()}"] = f"{count} (the last: {last}; {reason.value})"
    for flip in list(graph.book.flips)[-1:]:
        measured = graph.closures[flip.closure].measured
        pair = f"{keyframe_of(measured.a)} - {keyframe_of(measured.b)}"
        values["last_flip"] = f"{pair}: {flip.before.label.value} to {flip.after.label.value} at revision {flip.after.revision}"
    return values
