"""Findings of the checks as problems of a node, so that one cause is not said in two ways. Imports no ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vloc_ros.diagnosis import Check, Finding, Level
from vloc_ros.ros.problems import Problem, Problems

_PROBLEM = {
    Check.DISK: Problem.DISK,
    Check.DOMAIN: Problem.HIDDEN,
    Check.PUBLISHER: Problem.NO_IMAGES,
    Check.QOS: Problem.NO_IMAGES,
    Check.SILENCE: Problem.NO_IMAGES,
    Check.CAMERA_INFO: Problem.NO_CAMERA_INFO,
    Check.CALIBRATION: Problem.BAD_CALIBRATION,
    Check.BASELINE: Problem.BAD_CALIBRATION,
    Check.IMAGE_SIZE: Problem.BAD_FRAME,
    Check.DECODING: Problem.BAD_FRAME,
    Check.DISTORTION: Problem.NOT_RECTIFIED,
    Check.ROWS: Problem.NOT_RECTIFIED,
    Check.MOMENT: Problem.NOT_ONE_MOMENT,
    Check.SKEW: Problem.NOT_SYNCHRONISED,
    Check.CLOCK: Problem.BAD_STAMP,
    Check.RATE: Problem.RARE_IMAGES,
    Check.TF: Problem.NO_TF,
    Check.EMITTER: Problem.EMITTER,
}
_OF_TOPIC = (Check.PUBLISHER, Check.QOS, Check.SILENCE)


class FoundProblems:
    """Keeps the problems of a node in step with what its checks find, and leaves alone those that the node itself reports."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._own: set[Problem] = set()

    def set(self, findings: Iterable[Finding], info_topics: Collection[str] = ()) -> None:
        """These are all findings now; what was found before and is not among them is well again.

        Args:
            findings: of whatever level; what is fine is no problem.
            info_topics: topics of camera_info, whose silence is another problem than that of images.
        """
        texts: dict[Problem, list[str]] = {}
        for finding in findings:
            if finding.level > Level.OK:
                texts.setdefault(problem_of(finding, info_topics), []).append(finding.text)
        reported = self._problems.active.keys() - self._own
        for problem in self._own - texts.keys():
            self._problems.clear(problem)
        self._own = texts.keys() - reported
        for problem in self._own:
            self._problems.report(problem, "; ".join(texts[problem]))


def problem_of(finding: Finding, info_topics: Collection[str] = ()) -> Problem:
    """Under which problem a finding is listed."""
    if finding.check in _OF_TOPIC and finding.topic in info_topics:
        return Problem.NO_CAMERA_INFO
    return _PROBLEM[finding.check]
