"""How many stereo pairs the simulation renders per second."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from vloc_ros.simulation import DETAILS, SimulatedRun, StereoRig, World

_EXAMPLES = """examples:
  python benchmarks/render.py
      all sizes and levels of detail, with one and with two threads
  python benchmarks/render.py --sizes 512x384 --details fast --threads 1
      what one drive costs when two run side by side
  python benchmarks/render.py --condition late_afternoon --length 300 --poses 10
      low sun in a longer world
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of frames per second; returns the exit status."""
    options = _parser().parse_args(argv)
    world = World.generate(options.seed, options.length)
    print(f"stereo pairs in world {options.seed} of {options.length:g} m, {options.condition}; best of {options.repeats}")
    print(f"{'size':>9}  {'detail':6}  threads  {'ms/pair':>8}  {'pairs/s':>8}")
    for size in options.sizes:
        for detail in options.details:
            for threads in options.threads:
                seconds = _seconds_per_pair(world, _rig(size), detail, threads, options)
                print(f"{size[0]:>5}x{size[1]:<3}  {detail:6}  {threads:7}  {1e3 * seconds:8.1f}  {1.0 / seconds:8.1f}", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(512, 384), (384, 288), (256, 192)], help="image sizes, 4:3")
    parser.add_argument("--details", nargs="+", choices=list(DETAILS), default=list(DETAILS), help="levels of detail")
    parser.add_argument("--threads", nargs="+", type=int, choices=(1, 2), default=[1, 2], help="threads per drive")
    parser.add_argument("--condition", default="noon", help="light and weather, by name (default: noon)")
    parser.add_argument("--seed", type=int, default=7, help="which world (default: 7)")
    parser.add_argument("--length", type=float, default=100.0, help="length of its track [m] (default: 100)")
    parser.add_argument("--poses", type=int, default=5, help="poses along the track to average over (default: 5)")
    parser.add_argument("--repeats", type=int, default=5, help="renderings of each pose; the fastest counts (default: 5)")
    return parser


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; write WIDTHxHEIGHT, for example 512x384") from None
    if width < 16 or 3 * width != 4 * height:
        raise argparse.ArgumentTypeError(f"{text} must be at least 16 pixels wide and have the ratio 4:3 of the rig")
    return width, height


def _rig(size: tuple[int, int]) -> StereoRig:
    rig = StereoRig()
    return rig.scaled(size[0] / rig.camera.width)


def _seconds_per_pair(world: World, rig: StereoRig, detail: str, threads: int, options: argparse.Namespace) -> float:
    """Mean over the poses of the shortest time for a stereo pair [s]."""
    step_m = world.route.length_m / options.poses
    run = SimulatedRun(world, condition=options.condition, step_m=step_m, rig=rig, detail=detail, threads=threads)
    run.frame(0)  # compiles, and bakes the shadows
    total = 0.0
    for index in range(len(run)):
        best = float("inf")
        for _ in range(options.repeats):
            start = time.perf_counter()
            run.frame(index)
            best = min(best, time.perf_counter() - start)
        total += best
    return total / len(run)


if __name__ == "__main__":
    raise SystemExit(main())
