"""The picture of benchmarks/load.py: memory of each process, and the ages of the frames, over the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from load_record import MIB, Record

from vloc_ros.evaluation import plot_style


def draw(record: Record, path: Path) -> None:
    """Write the PNG."""
    minutes = np.array([second.at for second in record.seconds]) / 60.0
    with plot_style.style():
        figure = plot_style.figure(3.4)
        memory, ages = figure.subplots(1, 2)
        for number, name in enumerate(record.processes):
            colour = plot_style.RUN_COLOURS[number % len(plot_style.RUN_COLOURS)]
            memory.plot(minutes, [second.memory[name] / MIB for second in record.seconds], color=colour, linewidth=1.3, label=name)
        memory.set(title="resident memory [MiB]", xlabel="time [min]", ylim=(0, None))
        memory.legend(fontsize=7, ncol=2, loc="lower right")
        of_second = [[age for values in second.ages.values() for age in values] for second in record.seconds]
        for share, colour in ((50, plot_style.BLUE), (95, plot_style.ORANGE)):
            line = [float(np.percentile(values, share)) if values else np.nan for values in of_second]
            ages.plot(minutes, line, color=colour, linewidth=1.0, label="median" if share == 50 else f"{share} %")
        ages.set(title="age of a frame when it is finished [s]", xlabel="time [min]", ylim=(0, None))
        plot_style.legend_above(ages)
        figure.savefig(path, facecolor="white")
