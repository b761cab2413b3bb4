"""What is wrong at the moment: each kind is warned about once, and listed in the diagnostics while it lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, unique

_log = logging.getLogger(__name__)
_REPEAT_S = 30.0
_MOST = 5
_LONGEST = 600


@unique
class Problem(Enum):
    """Kinds of trouble with the input."""

    NO_IMAGES = "no images"
    NO_CAMERA_INFO = "no camera_info"
    NO_INPUT = "no input"
    HIDDEN = "no publisher in this ROS domain"
    RARE_IMAGES = "images too rare"
    NOT_RECTIFIED = "images not rectified"
    EMITTER = "emitter seen"
    NOT_ONE_MOMENT = "left and right of different moments"
    NO_TF = "tf of the camera"
    DISK = "disk nearly full"
    BAD_CALIBRATION = "bad calibration"
    CALIBRATION_CHANGED = "calibration changed"
    NOT_SYNCHRONISED = "images not synchronised"
    BAD_FRAME = "bad frame"
    TIME_JUMPED_BACK = "time jumped back"
    TIME_JUMPED_FORWARD = "time jumped forward"
    BAD_INPUT = "bad message"
    OUTPUT = "cannot write"
    NO_ODOMETRY = "no odometry"
    STALE_INSTRUMENTS = "height or attitude missing"
    NO_POSITION = "no position"
    HUNG = "a callback hangs"
    WRONG_FRAME = "wrong frame"
    BAD_STAMP = "bad stamp"
    BAD_PATH = "path cannot be followed"
    NO_COMMAND = "no command"
    NO_ACKNOWLEDGEMENT = "frame not processed"
    NOBODY_LISTENS = "nobody listens"
    UNPAIRED = "images without a partner"
    SLOW = "slower than asked"
    MAP = "the map cannot be used"
    SOLVER = "the graph was not solved"
    TRAINER = "the training failed"
    WORK_FOLDER = "the work folder cannot be used"
    BAD_MODEL_MESSAGE = "bad model message"
    MODEL = "the model was not swapped"
    PATCHES = "what a re-ranker keeps in the map"


def printable(text: str) -> str:
    """A text on one line, without control characters, and not longer than a reader bears."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)


class Problems:
    """Thread-safe set of what is wrong, with one sentence each.

    A text is logged when it appears, and again after half a minute; at most five texts of one kind in that time.
    """

    def __init__(self, warn: Callable[[str], object] = _log.warning, clock: Callable[[], float] = time.monotonic) -> None:
        self._warn, self._clock = warn, clock
        self._lock = threading.Lock()
        self._active: dict[Problem, str] = {}
        self._logged: dict[Problem, dict[str, float]] = {}
        self._untold: dict[Problem, str] = {}

    def report(self, problem: Problem, text: str) -> None:
        """Something is wrong: say so if that is news.

        The text may quote what came over the network: what cannot be shown on one line is escaped, and what is very long is cut.
        """
        now, text = self._clock(), printable(text)
        with self._lock:
            self._active[problem] = self._untold[problem] = text
            recent = {said: when for said, when in self._logged.get(problem, {}).items() if now - when < _REPEAT_S}
            news = text not in recent and len(recent) < _MOST
            self._logged[problem] = {**recent, text: now} if news else recent
        if news:
            self._warn(text)

    def report_or_clear(self, problem: Problem, text: str) -> None:
        """Something is wrong, or, with an empty text, no longer."""
        if text:
            self.report(problem, text)
        else:
            self.clear(problem)

    def clear(self, problem: Problem) -> None:
        """It is well again."""
        with self._lock:
            self._active.pop(problem, None)

    @property
    def active(self) -> dict[Problem, str]:
        """What is wrong now."""
        with self._lock:
            return dict(self._active)

    def take(self) -> dict[Problem, str]:
        """What is wrong now, and what was wrong for a moment since the last call: one bad frame among good ones is told too."""
        with self._lock:
            untold, self._untold = self._untold, {}
            return {**untold, **self._active}
