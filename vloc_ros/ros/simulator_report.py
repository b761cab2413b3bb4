"""What the simulator says of itself."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vloc_ros.ros.conversions import header
from vloc_ros.ros.problems import Problem
from vloc_ros.ros.simulated_drive import SimulatedDrive, TopicDrive
from vloc_ros.ros.simulation_loop import SimulationLoop


def simulator_diagnostics(
    name: str,
    stamp_ns: int,
    stage: str,
    loop: SimulationLoop,
    course: SimulatedDrive,
    problems: dict[Problem, str],
    more: dict[str, str],
) -> DiagnosticArray:
    """How fast simulated time runs, how far the drive has come, and what is wrong; and more keys and values."""
    values = {"stage": stage, **_numbers(loop, course), **more}
    values |= {f"problem_{problem.name.lower()}": text for problem, text in problems.items()}
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if problems else DiagnosticStatus.OK,
        name=f"{name}: simulation",
        message="; ".join([stage, *(problem.value for problem in problems)]),
        hardware_id="",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header(stamp_ns, ""), status=[status])


def drive_summary(loop: SimulationLoop, course: SimulatedDrive) -> str:
    """One line: what was published, and how the drive went."""
    return ", ".join(f"{name} {value}" for name, value in _numbers(loop, course).items())


def _numbers(loop: SimulationLoop, course: SimulatedDrive) -> dict[str, str]:
    values = {"frames": str(loop.frames), "not_acknowledged": str(loop.silent)}
    if loop.achieved is not None:
        values["real_time_factor"] = f"{loop.achieved:.2f}"
    if isinstance(course, TopicDrive) and course.supervisor is not None:
        values |= {
            "progress_m": f"{course.supervisor.progress_m:.1f}",
            "length_m": f"{course.supervisor.total_m:.1f}",
            "interventions": str(course.interventions),
            "driver": "operator" if course.supervisor.operating else "topic",
        }
    return values
