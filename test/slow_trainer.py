"""A trainer for the tests, as a program: works in steps that it stores in a folder, and goes on from there when started again.

python slow_trainer.py FOLDER [--steps N] [--cpu S] [--die-at N] [--error TEXT] [--garbage] [--hang] [--map FILE] [--hold S]
  [--done JSON]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def work(seconds: float) -> None:
    """Use the processor for so long."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        sum(range(1000))


def write(path: str, hold: float) -> None:
    """Keep the map's write lock for so long."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO note VALUES ('trainer')")
    time.sleep(hold)
    connection.execute("COMMIT")
    connection.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cpu", type=float, default=0.02)
    parser.add_argument("--die-at", type=int, default=-1)
    parser.add_argument("--error")
    parser.add_argument("--garbage", action="store_true")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--map")
    parser.add_argument("--hold", type=float, default=0.0)
    parser.add_argument("--done", type=json.loads, default={"version": 3})
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with (args.folder / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    stored = args.folder / "step"
    begin = int(stored.read_text()) if stored.exists() else 0
    say(stage="mining", share=1.0, tuples=12)
    if args.garbage:
        print("this is no JSON\n[1, 2]\n\xff", flush=True)
    for step in range(begin, args.steps):
        if step == args.die_at:
            sys.stderr.write("the memory is full\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        work(args.cpu)
        if args.map:
            write(args.map, args.hold)
        stored.with_suffix(".new").write_text(str(step + 1))
        stored.with_suffix(".new").rename(stored)
        say(stage="training", share=(step + 1) / args.steps, loss=1.0 / (step + 1))
    if args.error:
        say(error=args.error)
        return 1
    say(done={**args.done, "begun_at": begin})
    while args.hang:
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
