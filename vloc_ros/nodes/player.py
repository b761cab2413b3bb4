"""Node ``player``: publishes a recording as the topics of a camera."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from vloc_ros.data import open_recording
from vloc_ros.errors import ConfigError, VlocError
from vloc_ros.mapping.self_calibration import refine_rectification
from vloc_ros.ros.acknowledgement import Acknowledgements
from vloc_ros.ros.managed_node import ManagedNode
from vloc_ros.ros.node_settings import CameraType, PlayerNodeSettings
from vloc_ros.ros.playback import Playback
from vloc_ros.ros.player_loop import Replay
from vloc_ros.ros.runtime import run_node

_STOP_S = 10.0


class PlayerNode(ManagedNode):
    """Runs a :class:`Replay` in a thread."""

    def __init__(self) -> None:
        super().__init__("player", (PlayerNodeSettings(),))

    def configure(self) -> None:
        """Open the recording and advertise the topics."""
        settings = self.settings(PlayerNodeSettings())
        if not settings.source:
            raise ConfigError("no recording is named; set the parameter 'source'")
        reader = open_recording(Path(settings.source).expanduser(), settings.format or None)
        reader, report = refine_rectification(reader, settings.rectification)
        if report is not None:
            self.get_logger().info(str(report))
        if len(reader) == 0:
            raise ConfigError(f"the recording {settings.source} has no frames")
        kind = CameraType.STEREO if reader.frame(0).right is not None else CameraType.RGBD
        self._settings = settings
        self._acknowledgements = Acknowledgements(self)
        self._playback = Playback(self, reader, kind, settings)
        stamps = [int(stamp) for stamp in reader.stamps_ns]
        self._replay = Replay(self._playback, self._acknowledgements, stamps, settings, self.get_logger().warning)

    def activate(self) -> None:
        """Begin to play."""
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop; activating again plays from the start."""
        self._halt.set()
        self._thread.join(_STOP_S)

    def cleanup(self) -> None:
        """Take the topics away."""
        self._playback.close()
        self._acknowledgements.close()

    def _play(self) -> None:
        try:
            self._replay.run(self._halt)
        except VlocError as error:
            self.fail(str(error))
        except Exception as error:
            self.broken(error)
        else:
            self.get_logger().info(self._replay.summary())
            if self._settings.exit_when_done and not self._halt.is_set():
                self.done.set()


def main(arguments: list[str] | None = None) -> int:
    """Console script ``player``."""
    return run_node(PlayerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
