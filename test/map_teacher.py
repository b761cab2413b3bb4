"""A process that teaches until it is killed: ``map_teacher.py PATH KEYFRAMES [MAX_FILE_BYTES]``; it reports what is committed.

A file size limit stands for a full disk: once it is hit, the process reports the error, lifts the limit and goes on.
"""

import resource
import sys
from pathlib import Path

from map_samples import add_keyframe, create

from vloc_ros.errors import MapError
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(path, keyframes, max_file_bytes=None):
    say("started")
    store = MapStore.open(path) if path.exists() else create(path)
    session = store.begin_session(SessionKind.TEACH, "a drive")
    say("session")
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    for _ in range(keyframes):
        try:
            say(add_keyframe(store, session).id)
        except MapError as error:
            say(f"error {error}")
            known = store.keyframes(session)
            say(f"readable {sum(len(store.features(keyframe.id)) for keyframe in known)} in {len(known)}")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.close()
    say("closed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
