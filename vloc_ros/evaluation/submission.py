"""The file that the site of the long-term benchmark (visuallocalization.net) takes: a pose for each query that was answered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vloc_ros.data.places import PlaceDataset
from vloc_ros.data.seasons import pose_lines
from vloc_ros.errors import DataError
from vloc_ros.evaluation.condition_metrics import Result
from vloc_ros.evaluation.output import make_folder, write_whole


def submission(result: Result, datasets: Sequence[PlaceDataset]) -> str:
    """Its text: lines ``name qw qx qy qz tx ty tz`` of ``camera_T_world``, with the pose of the best picture of the database.

    A query without an answer has no line, and the site counts it as a failure.

    Raises:
        DataError: a data set has no poses, or a name would be two fields of a line or is that of two queries.
    """
    entries = {}
    for rows, data in zip(result.ranked, datasets, strict=True):
        if data.poses is None:
            raise DataError(
                f"{data.name} has no poses, so there is none to submit: take a benchmark with --layout seasons or poses"
            )
        for query, found in zip(data.queries, rows, strict=True):
            if query.name in entries or len(query.name.split()) != 1:
                raise DataError(f"'{query.name}' cannot stand in a submission: a name must have no space and be that of one query")
            entries[query.name] = data.poses.database[int(found[0])] if len(found) else None
    return pose_lines((name, pose) for name, pose in entries.items() if pose is not None)


def write_submissions(path: Path, results: Sequence[Result], datasets: Sequence[PlaceDataset]) -> dict[str, Path]:
    """Write one file for each method: ``path`` itself for a single one, else with the name of the method in that of the file.

    Raises:
        DataError: there is no submission, see :func:`submission`.
        OutputError: a file cannot be written.
    """
    make_folder(path.parent)
    files: dict[str, Path] = {}
    for result in results:
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", result.name)
        file = path if len(results) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}")
        if file in files.values():
            raise DataError(f"two methods would be written to {file}: submit them one by one")
        write_whole(file, submission(result, datasets))
        files[result.name] = file
    return files
