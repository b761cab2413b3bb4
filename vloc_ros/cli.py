"""``vloc``: the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from vloc_ros import __version__
from vloc_ros.blas import let_threads_sleep
from vloc_ros.commands import (
    autonomy,
    build_ortho,
    calibrate,
    config,
    convert,
    demo,
    doctor,
    drive,
    evaluate,
    export,
    fly,
    locate,
    loops,
    maps,
    models,
    nodes,
    odometry,
    optimise,
    policy,
    repeat,
    retrieve,
    teach,
    train,
    view,
    vocabulary,
    weights,
)
from vloc_ros.errors import VlocError

_EXAMPLES = """examples:
  vloc demo --out demo                                   teach and repeat a simulated route, through the ROS nodes
  vloc teach noon/ --map site.vloc                       a recording becomes a map
  vloc repeat dusk/ --map site.vloc --out dusk_run       another one is localised in it; see dusk_run/report.html
  vloc drive --map sim.vloc --condition night --out d    a simulated robot repeats its route by itself, at night
  vloc loops --map site.vloc --out loops                 the loop closures of a map, labelled
  vloc calibrate --map site.vloc --promote               place recognition learns from them
  vloc map info site.vloc                                what the map holds
  vloc doctor                                            what is wrong with the installation or the camera
  vloc up teach_repeat --mode repeat --map site.vloc     the same as ROS 2 nodes, on a live camera

vloc COMMAND --help tells more, with examples."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="vloc",
        description="Teach a route once, repeat it in any light.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vloc_ros {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (
        *(demo, teach, repeat, drive, autonomy, odometry, fly),
        *(loops, optimise, retrieve, locate, evaluate, vocabulary),
        *(calibrate, train, maps, build_ortho, models, weights, export, nodes, policy, convert, config, view, doctor),
    ):
        command.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a wrong input is one sentence on stderr and exit code 1, a wrong option exit code 2."""
    let_threads_sleep()
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO if args.verbose else logging.WARNING
    )
    try:
        return int(args.run(args))
    except VlocError as error:
        sys.stderr.write(f"vloc {args.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `vloc config | head`; a second failure at exit is prevented.
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
