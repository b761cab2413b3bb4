"""The text files of the published calibrator, and folders of images that it reads.

``triplets.txt`` and ``filtered_triplets.txt`` hold ``anchor positive negative ...`` per line, ``inliers.txt`` and
``outliers.txt`` two numbers. The numbers name images by the stem of their file (``samples/000000042.png`` is 42). The published
calibrator takes them for positions in the sorted folder instead (defect M5), which is wrong as soon as one image is missing; so
they are never read like that here, and written such that both readings agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vloc_ros.calibration.published_mining import Pair, Triplet
from vloc_ros.calibration.tuples import TupleSet
from vloc_ros.data.files import IMAGE_SUFFIXES, read_rows
from vloc_ros.data.output import output_folder, write_image, write_text
from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore

TRIPLETS, FILTERED, INLIERS, OUTLIERS = "triplets.txt", "filtered_triplets.txt", "inliers.txt", "outliers.txt"
NAMES = "keyframes.txt"
"""Which keyframe of the map each number is; only this project writes it."""
IMAGES = "samples"
Names = Mapping[int, KeyframeId]


@dataclass(frozen=True, slots=True)
class PublishedSamples:
    """What a folder of the published system holds.

    Attributes:
        triplets: as mined; empty without the file.
        filtered: those that were trained on; empty without the file.
        inliers, outliers: pairs as the pose graph labelled them; empty without the file.
        images: the file of each keyframe.
    """

    triplets: tuple[Triplet, ...]
    filtered: tuple[Triplet, ...]
    inliers: tuple[Pair, ...]
    outliers: tuple[Pair, ...]
    images: dict[KeyframeId, Path]


def read_samples(folder: Path, session: int = 1) -> PublishedSamples:
    """Read a folder of samples.

    Args:
        folder: holds the text files, and images in itself or in one folder below it.
        session: image 42 is taken for keyframe 42 of this session, unless ``keyframes.txt`` says which one it is.

    Raises:
        DataError: a file is damaged, no image bears a number that a file names, or two do; the text names file and line.
    """
    folder = Path(folder)
    stems = _images(folder)
    if not any((folder / name).exists() for name in (TRIPLETS, FILTERED, INLIERS, OUTLIERS)):
        raise DataError(f"{folder} has none of {TRIPLETS}, {FILTERED}, {INLIERS} and {OUTLIERS}; is it a folder of samples?")
    listed = _names(folder / NAMES) if (folder / NAMES).exists() else {}
    names = {stem: listed.get(stem, KeyframeId(session, stem)) for stem in stems}
    if len(set(names.values())) != len(names):
        raise DataError(f"{folder / NAMES} names some images of {folder} and not others: it must name all of them or be absent")
    return PublishedSamples(
        triplets=read_triplets(folder / TRIPLETS, names),
        filtered=read_triplets(folder / FILTERED, names),
        inliers=read_pairs(folder / INLIERS, names),
        outliers=read_pairs(folder / OUTLIERS, names),
        images={names[stem]: path for stem, path in sorted(stems.items())},
    )


def read_triplets(path: Path, names: Names) -> tuple[Triplet, ...]:
    """The lines ``anchor positive negative ...`` of a file, none when it is absent.

    Raises:
        DataError: a line is damaged or names no image.
    """
    return tuple(Triplet(ids[0], ids[1], tuple(ids[2:])) for ids in _lines(path, names, None))


def read_pairs(path: Path, names: Names) -> tuple[Pair, ...]:
    """The lines ``a b`` of a file, none when it is absent.

    Raises:
        DataError: a line is damaged or names no image.
    """
    return tuple((ids[0], ids[1]) for ids in _lines(path, names, 2))


def write_triplets(path: Path, triplets: Iterable[Triplet], numbers: Mapping[KeyframeId, int]) -> None:
    """Inverse of :func:`read_triplets`; ``numbers`` says how each keyframe is called.

    Raises:
        DataError: a keyframe has no number, or the file cannot be written.
    """
    _write(path, [(triplet.anchor, triplet.positive, *triplet.negatives) for triplet in triplets], numbers)


def write_pairs(path: Path, pairs: Iterable[Pair], numbers: Mapping[KeyframeId, int]) -> None:
    """Inverse of :func:`read_pairs`.

    Raises:
        DataError: a keyframe has no number, or the file cannot be written.
    """
    _write(path, list(pairs), numbers)


def triplets_of(tuples: TupleSet) -> tuple[Triplet, ...]:
    """Training tuples without weight and revision, which the files cannot hold."""
    return tuple(Triplet(item.anchor, item.positive, item.negatives) for item in tuples.tuples)


def write_samples(
    folder: Path,
    store: MapStore,
    triplets: Sequence[Triplet],
    filtered: TupleSet,
    inliers: Iterable[Pair],
    outliers: Iterable[Pair],
) -> dict[KeyframeId, int]:
    """Write a folder that the published calibrator trains on: images of all keyframes, the text files, and ``keyframes.txt``.

    Images are numbered from 0 without a gap, so that their positions are their numbers.

    Returns:
        the number of each keyframe.

    Raises:
        MapError: a keyframe has no image, or the map is damaged.
        DataError: the folder is not empty, or cannot be written; nothing is left in it then.
    """
    numbers = {keyframe.id: number for number, keyframe in enumerate(store.keyframes())}
    with output_folder(Path(folder)) as scratch:
        for id, number in numbers.items():
            image = store.image(id)
            if image is None:
                raise MapError(f"the map {store.path} has no image of keyframe {id}, which the published calibrator needs")
            write_image(scratch / IMAGES / f"{number:09d}.png", image)
        write_text(scratch / NAMES, "".join(f"{number} {id}\n" for id, number in numbers.items()))
        write_triplets(scratch / TRIPLETS, triplets, numbers)
        write_triplets(scratch / FILTERED, triplets_of(filtered), numbers)
        write_pairs(scratch / INLIERS, inliers, numbers)
        write_pairs(scratch / OUTLIERS, outliers, numbers)
    return numbers


def _images(folder: Path) -> dict[int, Path]:
    """Files of images by their number."""
    try:
        places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        files = [path for place in places for path in sorted(place.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise DataError(f"the folder of samples {folder} cannot be read: {error.strerror or error}") from error
    found: dict[int, Path] = {}
    for path in files:
        number = _number(path.stem)
        if number is None:
            raise DataError(f"the image {path} is not named by a number like 000000042.png, so no line can mean it")
        if number in found:
            raise DataError(f"the images {found[number]} and {path} have the same number; keep one of them")
        found[number] = path
    return found


def _names(path: Path) -> dict[int, KeyframeId]:
    names: dict[int, KeyframeId] = {}
    for line, fields in read_rows(path):
        number = _number(fields[0])
        if len(fields) != 2 or number is None or number in names:
            raise DataError(f"{path} line {line} is not a number of its own with the name of its keyframe, like '42 s1/k43'")
        try:
            names[number] = KeyframeId.parse(fields[1])
        except MapError as error:
            raise DataError(f"{path} line {line}: {error}") from None
    if len(set(names.values())) != len(names):
        raise DataError(f"{path} names a keyframe twice; write the samples again")
    return names


def _lines(path: Path, names: Names, count: int | None) -> list[list[KeyframeId]]:
    if not path.exists():
        return []
    result = []
    for line, fields in read_rows(path):
        numbers = [_number(field) for field in fields]
        if None in numbers or len(fields) < 2 or (count is not None and len(fields) != count):
            expected = "two numbers" if count == 2 else "the numbers of an anchor, a positive and negatives"
            raise DataError(f"{path} line {line} does not hold {expected}: '{' '.join(fields)[:80]}'")
        missing = next((number for number in numbers if number not in names), None)
        if missing is not None:
            raise DataError(f"{path} line {line} names image {missing}, which is not there: numbers are stems of files")
        result.append([names[number] for number in numbers if number is not None])
        if len(set(result[-1])) != len(fields):
            raise DataError(f"{path} line {line} names an image twice: '{' '.join(fields)[:80]}'")
    return result


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _write(path: Path, lines: Sequence[Sequence[KeyframeId]], numbers: Mapping[KeyframeId, int]) -> None:
    unknown = next((id for line in lines for id in line if id not in numbers), None)
    if unknown is not None:
        raise DataError(f"cannot write {path}: keyframe {unknown} has no number")
    write_text(path, "".join(" ".join(str(numbers[id]) for id in line) + "\n" for line in lines))
