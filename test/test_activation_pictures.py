"""Activation maps over queries and their answers, in pictures and reports."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from network_samples import write_places

from vloc_ros.cli import main
from vloc_ros.data.places import Picture
from vloc_ros.evaluation.activation_pictures import HEIGHT_PX, LEGEND, ActivationPainter, activation_painter, draw_activation
from vloc_ros.retrieval import View, create_descriptor
from vloc_ros.retrieval.activation import activation_map


def colourful(image: np.ndarray) -> np.ndarray:
    """How far each pixel is from grey."""
    return np.ptp(image.astype(np.int16), axis=2)


def test_colours_are_where_the_map_is() -> None:
    activation = np.zeros((4, 8), dtype=np.float32)
    activation[1, 6] = 5.0
    picture = draw_activation(np.full((100, 200), 100, np.uint8), activation)
    assert picture.shape == (HEIGHT_PX, 2 * HEIGHT_PX, 3) and picture.dtype == np.uint8
    colours = colourful(picture)
    y, x = np.unravel_index(colours.argmax(), colours.shape)
    assert abs(y - 1.5 * HEIGHT_PX / 4) < HEIGHT_PX / 8 and abs(x - 6.5 * HEIGHT_PX / 4) < HEIGHT_PX / 8
    assert colours.max() > 60 and colours[:, :HEIGHT_PX].max() == 0
    # how large it is says nothing, and nothing is nowhere
    np.testing.assert_array_equal(draw_activation(np.full((100, 200), 100, np.uint8), 7.0 * activation), picture)
    assert colourful(draw_activation(np.full((9, 9, 3), 50, np.uint8), np.zeros((2, 2), np.float32))).max() == 0


class Halves:
    """Latents of two channels: one has a spot on the left, the other one on the right, as strong as the image is bright there."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def latent(self, view: View) -> np.ndarray:
        self.told.append(view.condition)
        assert view.image is not None
        made = np.zeros((2, 4, 8), dtype=np.float32)
        made[0, 1, 1], made[1, 2, 6] = view.image[:, :4].mean(), view.image[:, 4:].mean()
        made += np.linspace(0.0, 1.0, 32).reshape(4, 8)
        return made


def picture(left: int, right: int, condition: str) -> Picture:
    image = np.repeat(np.array([[left] * 4 + [right] * 4], dtype=np.uint8), 4, axis=0)
    return Picture(f"{left} {right}", lambda: image, condition)


@pytest.mark.parametrize("told", [True, False])
def test_each_picture_has_its_map_for_the_other(told: bool) -> None:
    halves = Halves()
    one, other = picture(200, 20, "day"), picture(210, 120, "night")
    found = ActivationPainter(halves, told)(one, other)
    assert halves.told == (["day", "night"] if told else ["", ""])
    latents = [halves.latent(View(side.read())) for side in (one, other)]
    maps = activation_map(latents[0], latents[1]), activation_map(latents[1], latents[0])
    assert not np.allclose(maps[0], maps[1])
    for image, side, expected in zip(found, (one, other), maps, strict=True):
        np.testing.assert_array_equal(image, draw_activation(side.read(), expected))


def test_descriptors_without_latents_have_no_maps() -> None:
    assert activation_painter(create_descriptor("thumbnail"), told=True) is None


def test_maps_are_below_a_picture_of_any_width() -> None:
    one, other = picture(200, 20, "day"), picture(210, 120, "night")
    painter = ActivationPainter(Halves(), told=True)
    maps = np.hstack(
        [side if k else np.pad(side, ((0, 0), (0, 6), (0, 0)), constant_values=255) for k, side in enumerate(painter(one, other))]
    )
    for width in (50, 2000):
        made = painter.below(np.full((30, width, 3), 9, np.uint8), one, other)
        assert made.shape == (30 + 6 + HEIGHT_PX, max(width, maps.shape[1]), 3)
        assert (made[:30, :width] == 9).all() and (made[:30, width:] == 255).all()
        np.testing.assert_array_equal(made[36:, : maps.shape[1]], maps)


def shown(page: Path) -> list[np.ndarray]:
    """All JPEG pictures of a page."""
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page.read_text())
    return [cv2.imdecode(np.frombuffer(base64.b64decode(part), np.uint8), cv2.IMREAD_COLOR) for part in found]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    database = write_places(tmp_path / "database", 6)
    queries = tmp_path / "queries"
    queries.mkdir()
    for file in database.iterdir():
        image = cv2.imread(str(file))
        cv2.imwrite(str(queries / file.name), image // 2 + 20)
    return queries, database


@pytest.mark.parametrize("command", ["retrieve", "evaluate"])
def test_reports_show_why_an_answer_was_given(command: str, places: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="networks need torch")
    from disam_samples import written

    weights, _ = written(tmp_path / "tiny.safetensors")
    queries, database = places
    out = ["--database", str(database), "--out", str(tmp_path / "out")]
    if command == "retrieve":
        assert main(["retrieve", str(queries), "--descriptor", str(weights), *out]) == 0
        assert main(["retrieve", str(queries), "--descriptor", "thumbnail", *out[:3], str(tmp_path / "plain")]) == 0
    else:
        setting = ["--layout", "aligned", "--descriptors"]
        assert main(["evaluate", "retrieval", str(queries), *setting, str(weights), *out]) == 0
        assert main(["evaluate", "retrieval", str(queries), *setting, "thumbnail", *out[:3], str(tmp_path / "plain")]) == 0
    figures, plain = shown(tmp_path / "out" / "report.html"), shown(tmp_path / "plain" / "report.html")
    assert figures and plain
    assert all(figure.shape[0] == 2 * HEIGHT_PX + 6 for figure in figures)
    assert all(figure.shape[0] == HEIGHT_PX for figure in plain)
    lower = [colourful(figure[HEIGHT_PX + 6 :]) for figure in figures]
    assert min(colours.max() for colours in lower) > 40  # the places themselves are grey
    legend = LEGEND.split("(")[0]
    assert legend in (tmp_path / "out" / "report.html").read_text()
    assert legend not in (tmp_path / "plain" / "report.html").read_text()


def test_a_fine_stage_shows_its_own_maps(places: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="networks need torch")
    from disam_samples import written

    weights, _ = written(tmp_path / "tiny.safetensors")
    queries, database = places
    command = ["evaluate", "retrieval", str(queries), "--database", str(database), "--layout", "aligned", "--fine", str(weights)]
    assert main([*command, "--descriptors", "thumbnail", "--out", str(tmp_path / "out")]) == 0
    heights = [figure.shape[0] for figure in shown(tmp_path / "out" / "report.html")]
    bordered = 338  # of a picture of re-ranking, with its margins
    assert set(heights) == {HEIGHT_PX, bordered + 6 + HEIGHT_PX}
    assert LEGEND.split("(")[0] in (tmp_path / "out" / "report.html").read_text()
