"""Processes that switch from version to version of the model of a map until they are killed: ``model_switcher.py MAP``.

For each line on stdin a child is forked, so that torch is imported once; its number is said on stdout, and how it ended.
"""

import os
import sys
from pathlib import Path

from vloc_ros.blas import let_threads_sleep
from vloc_ros.mapping.model_versions import SwitchReason, ask_switch, number_in_use, pending_switch
from vloc_ros.mapping.store import MapStore
from vloc_ros.networks import network  # noqa: F401  the children find it imported
from vloc_ros.retrieval.switching import end_switch

VERSIONS = 3


def said(ids):
    """Say each keyframe before it is described."""
    for id in ids:
        say(id)
        yield id


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def switch_for_ever(path):
    """End what was begun, then go from version to version, round and round: descriptors of the last but one are gone each time."""
    with MapStore.open(path) as store:
        while True:
            following = number_in_use(store) % VERSIONS + 1
            assert end_switch(store, pending_switch(store) or ask_switch(store, following, SwitchReason.ASKED), said)


def main(path):
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                switch_for_ever(path)
            finally:
                os._exit(1)  # reached only by an error; what the parent has open stays so
        say(child)
        say(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    let_threads_sleep()
    main(Path(sys.argv[1]))
