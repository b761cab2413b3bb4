"""An open ROS 1 or ROS 2 bag: its topics, single messages by position, and stamps without decoding images."""

from __future__ import annotations

import struct
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vloc_ros.errors import DataError, VlocError

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

SUFFIXES = (".bag", ".db3", ".mcap")
_AHEAD = 64
"""Messages that a cursor reads past before it is cheaper to look the wanted one up in the index of the bag."""
_KEPT = 16
"""Messages kept after the cursor has passed them, for pairs that are recorded crosswise."""


class Entry(NamedTuple):
    """Where a message is: its topic, time of recording [ns] and stamp of its header [ns]."""

    topic: str
    log_ns: int
    stamp_ns: int


class _Query:
    """The query that is being read; apart from its source, so that it can end before the files are closed."""

    def __init__(self) -> None:
        self.messages: Iterator[Any] = iter(())


class BagSource:
    """A bag that is open for reading; usable from several threads, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open a bag.

        Args:
            path: a .bag, .db3 or .mcap file, or a folder with one bag of ROS 2 or all parts of one of ROS 1.

        Raises:
            DataError: it is not a bag, or damaged.
        """
        self.path = path
        self._lock = threading.RLock()
        with self._errors():
            # Bags of ROS 2 before Iron carry no message definitions; those of Humble fit the messages used here.
            self._reader = _reader(_bag_files(path))
            self._reader.open()
        self._types = {connection.topic: connection.msgtype for connection in self._reader.connections}
        self._entries: list[Entry] = []
        self._connections: list[Any] = []
        self._first_at: dict[int, int] = {}
        self._query = _Query()
        # A source that nobody closes is collected in any order with its files; this closes them before that.
        self._finalizer = weakref.finalize(self, _close, self._reader, self._query)
        self._next = 0
        self._passed: deque[tuple[int, Any]] = deque(maxlen=_KEPT)

    @property
    def types(self) -> dict[str, str]:
        """Message type of each topic, in the form ``sensor_msgs/msg/Image``."""
        return self._types

    def first(self, topic: str) -> Any:
        """The first message of a topic, or None.

        Raises:
            DataError: the bag is damaged.
        """
        with self._lock, self._errors():
            found = next(self._raw(self._of(topic)), None)
            return None if found is None else self._reader.deserialize(found[2], found[0].msgtype)

    def messages(self, topic: str) -> list[Any]:
        """All messages of a topic, in the order of recording; not meant for images.

        Raises:
            DataError: the bag is damaged.
        """
        with self._lock, self._errors():
            return [self._reader.deserialize(raw, connection.msgtype) for connection, _, raw in self._raw(self._of(topic))]

    def build_index(self, topics: Sequence[str]) -> list[Entry]:
        """Note position and stamp of every message of some topics; :meth:`message` then reads them by position.

        Raises:
            DataError: the bag is damaged.
        """
        with self._lock, self._errors():
            self._connections = self._of(*topics)
            self._entries = [
                Entry(connection.topic, log_ns, self._stamp(raw) or log_ns)
                for connection, log_ns, raw in self._raw(self._connections)
            ]
            for position, entry in enumerate(self._entries):
                self._first_at.setdefault(entry.log_ns, position)
            return list(self._entries)

    def message(self, position: int) -> Any:
        """The indexed message at a position.

        Going forward reads the bag once, also where it has no index of its own; other positions are looked up.

        Raises:
            DataError: the bag is damaged.
        """
        with self._lock, self._errors():
            kept = next((message for number, message in self._passed if number == position), None)
            if kept is not None:
                return kept
            if not self._next <= position < self._next + _AHEAD:
                self._seek(position)
            while True:
                connection, _, raw = next(self._query.messages)
                self._next += 1
                message = self._reader.deserialize(raw, connection.msgtype)
                self._passed.append((self._next - 1, message))
                if self._next > position:
                    return message

    def close(self) -> None:
        """Close the files; the source cannot be used afterwards."""
        with self._lock:
            self._query.messages, self._next = iter(()), len(self._entries) + _AHEAD
            self._passed.clear()
            self._finalizer()

    def _seek(self, position: int) -> None:
        log_ns = self._entries[position].log_ns
        self._query.messages = self._raw(self._connections, start=log_ns)
        self._next = self._first_at[log_ns]

    def _raw(self, connections: Sequence[Any], start: int | None = None) -> Iterator[Any]:
        # A reader has one file position: any new query makes an older cursor read nonsense.
        self._query.messages, self._next = iter(()), len(self._entries) + _AHEAD
        return self._reader.messages(connections, start=start) if connections else iter(())

    def _of(self, *topics: str) -> list[Any]:
        return [connection for connection in self._reader.connections if connection.topic in topics]

    def _stamp(self, raw: bytes | memoryview) -> int:
        """Stamp of the header that the message begins with [ns]; 0 when the driver left it empty."""
        if self._reader.is2:
            sec, nanosec = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
        else:
            sec, nanosec = struct.unpack_from("<II", raw, 4)
        return int(sec) * 1_000_000_000 + int(nanosec)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except VlocError:
            raise
        except Exception as error:  # The parsers of rosbags answer damaged bytes with exceptions of any kind.
            detail = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(
                f"the bag {self.path} cannot be read ({detail}); if recording was cut off, repair it with "
                "'ros2 bag reindex', 'mcap recover' or 'rosbag reindex'"
            ) from error


def is_bag(path: Path) -> bool:
    """Whether the path is a bag file, a folder of ROS 2 with its metadata, or a folder with nothing but bag files."""
    if path.is_file():
        return path.suffix in SUFFIXES
    if not path.is_dir():
        return False
    metadata = path / "metadata.yaml"
    if metadata.is_file():
        try:
            return b"rosbag2_bagfile_information" in metadata.read_bytes()[:4096]
        except OSError:
            return False
    children = list(path.iterdir())
    return any(child.suffix in SUFFIXES for child in children) and not any(child.is_dir() for child in children)


def _reader(files: Sequence[Path]) -> AnyReader:
    # Imported with the first bag: it takes long, and the nodes, which import all formats, would start later for it.
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    return AnyReader(files, default_typestore=get_typestore(Stores.ROS2_HUMBLE))


def _close(reader: AnyReader, query: _Query) -> None:
    query.messages = iter(())
    reader.close()


def _bag_files(path: Path) -> list[Path]:
    if path.is_file() or (path / "metadata.yaml").is_file():
        if path.is_file() and path.suffix not in SUFFIXES:
            raise DataError(f"{path} is no bag; bags end in {', '.join(SUFFIXES)}")
        return [path]
    files = sorted(child for child in path.iterdir() if child.suffix in SUFFIXES)
    if not files:
        raise DataError(f"there is no bag in {path}; bags end in {', '.join(SUFFIXES)}")
    if len({file.suffix for file in files}) > 1:
        raise DataError(f"{path} holds bags of different kinds; name one of them")
    return files


def stamp_of(header: Any) -> int:
    """Stamp of a std_msgs/Header [ns]."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def vector(value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(3,) of a geometry_msgs Point or Vector3, or (4,) x y z w of a Quaternion."""
    parts = [value.x, value.y, value.z] + ([value.w] if hasattr(value, "w") else [])
    return np.array(parts, dtype=np.float64)
