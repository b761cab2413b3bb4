"""The live checks of `vloc doctor`: listens to a camera for some seconds as the localization node would, and looks at what came."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.diagnosis import CameraFacts, Check, Finding, Level, examine
from vloc_ros.diagnosis.finding import error, fine, warning
from vloc_ros.diagnosis.stamps import ENOUGH_UNPAIRED
from vloc_ros.errors import VlocError
from vloc_ros.ros.node_settings import LocalizationNodeSettings
from vloc_ros.ros.runtime import RosUnavailableError, require_rclpy

Array = NDArray[np.float64]
NODE = "vloc_doctor"
_SPIN_S, _GRAPH_S, _LONGEST = 0.05, 0.2, 3.0


def examine_live(
    settings: LocalizationNodeSettings,
    mount: Array | None,
    seconds: float,
    *,
    remappings: Mapping[str, str] | None = None,
    namespace: str = "",
    use_sim_time: bool = False,
) -> list[Finding]:
    """All live checks.

    Args:
        settings: of the node whose input it would be: camera, QoS, slop, frames.
        mount: (4, 4) ``base_T_camera`` as configured; None when that was left at its default.
        seconds: how long to listen [s]; up to three times as long while no publisher is to be
            seen, or too little has come to judge.
        remappings: topics by other names.
        namespace: of the node.
        use_sim_time: whether the node follows ``/clock``.

    Returns:
        The findings; only one of the check ROS where rclpy cannot be used.
    """
    try:
        require_rclpy()
    except RosUnavailableError as problem:
        sentence, _, remedy = str(problem).partition("; ")
        return [warning(Check.ROS, f"the topics are not looked at: {sentence}", remedy or "source a ROS 2 installation")]
    settings = replace(settings, timeout=max(0.1, 0.5 * seconds))
    try:
        facts = _listen(settings, mount, seconds, _arguments(remappings or {}, namespace), use_sim_time)
    except VlocError as problem:
        return [error(Check.ROS, str(problem), "compare the options with those of the nodes")]
    return [fine(Check.ROS, f"rclpy works; listened as a node of {facts.images[0].name} would"), *examine(facts)]


def unseen(findings: list[Finding]) -> list[Check]:
    """The live checks that had nothing to look at, where there are live checks at all."""
    if any(finding.check is Check.ROS and finding.level > Level.OK for finding in findings):
        return []
    seen = {finding.check for finding in findings}
    live = (Check.CAMERA_INFO, Check.CALIBRATION, Check.IMAGE_SIZE, Check.SKEW, Check.CLOCK, Check.RATE, Check.TF, Check.DECODING)
    hidden = [check for check in (*live, Check.ROWS, Check.EMITTER) if check not in seen]
    return [] if Check.ROS not in seen else hidden


def _arguments(remappings: Mapping[str, str], namespace: str) -> list[str]:
    rules = [f"{name}:={other}" for name, other in remappings.items()]
    if namespace:
        rules.append(f"__ns:=/{namespace.strip('/')}")
    return ["--ros-args", *(part for rule in rules for part in ("-r", rule))]


def _listen(
    settings: LocalizationNodeSettings, mount: Array | None, seconds: float, arguments: list[str], use_sim_time: bool
) -> CameraFacts:
    """Listen, and take down what came.

    Raises:
        VlocError: ROS cannot be started with these arguments.
    """
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    context = rclpy.Context()  # type: ignore[attr-defined]
    try:
        rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except (RuntimeError, ValueError) as problem:  # of the C library: an argument or a variable that it cannot read
        raise VlocError(f"ROS cannot be started: {problem}") from problem
    try:
        overrides: list[Any] = [Parameter("use_sim_time", value=use_sim_time)]
        node = rclpy.create_node(NODE, context=context, parameter_overrides=overrides)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            return _collect(node, executor, settings, mount, seconds)
        finally:
            executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
    finally:
        context.try_shutdown()


def _collect(node: Any, executor: Any, settings: LocalizationNodeSettings, mount: Array | None, seconds: float) -> CameraFacts:
    from vloc_ros.ros.camera_input import CameraInput
    from vloc_ros.ros.problems import Problems
    from vloc_ros.ros.statistics import Statistics
    from vloc_ros.ros.tf_facts import TfListener

    # What the input itself reports of calibrations is found by the checks again, and said once.
    problems = Problems(lambda _text: None)
    camera = CameraInput(node, settings, Statistics(), problems, lambda _camera: None, lambda _pair: None)
    tf = TfListener(node)
    try:
        started = looked = time.monotonic()
        while (passed := time.monotonic() - started) < _LONGEST * seconds:
            executor.spin_once(timeout_sec=_SPIN_S)
            if time.monotonic() - looked > _GRAPH_S:
                looked = time.monotonic()
                if passed > seconds and _decided(camera.facts()):
                    break
                camera.watch()
        facts = camera.pixels_of(camera.facts())
        return replace(facts, tf=tf.facts(settings.frames.base, facts.streams[0].frame_id, mount))
    finally:
        tf.close()
        camera.close()


def _decided(facts: CameraFacts) -> bool:
    """Whether each topic has either been heard well enough or been silent for long enough.

    As long as no publisher of any is to be seen, it may be that none has been discovered yet: on a busy machine that takes
    seconds, and then "nobody publishes it" would be wrong.
    """
    heard = [topic.heard > ENOUGH_UNPAIRED for topic in facts.images] + [topic.heard > 0 for topic in facts.infos]
    topics = (*facts.images, *facts.infos)
    known = any(topic.publishers for topic in topics)
    return known and all(enough or topic.silent for enough, topic in zip(heard, topics, strict=True))
