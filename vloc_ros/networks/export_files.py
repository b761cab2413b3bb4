"""Networks as files for those who run them without torch or without our code, each checked against torch after it was written."""

from __future__ import annotations

from enum import Enum, unique
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_ros.data.local_model import LocalModel
from vloc_ros.data.onnx_file import METADATA
from vloc_ros.data.output import write_bytes
from vloc_ros.errors import ConfigError, DataError, WeightsError
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.features.engines.onnx_files import CLASSIFIER_ENDING, MISFIT_ENDING, PAIRS_ENDING
from vloc_ros.features.engines.onnxruntime import open_session
from vloc_ros.networks.disam_export import onnx_of_classifier, onnx_of_encoders, onnx_of_misfit
from vloc_ros.networks.disam_files import load_disam
from vloc_ros.networks.disam_numpy import encode_whole, logits, misfit
from vloc_ros.networks.export import for_vtr3, onnx_of, torchscript_of
from vloc_ros.networks.files import load_network
from vloc_ros.networks.glvl_export import onnx_of_vectors, vectors_of
from vloc_ros.networks.glvl_files import load_glvl
from vloc_ros.networks.local import LocalNetwork
from vloc_ros.networks.local_files import load_local_network, model_of
from vloc_ros.networks.network import as_described
from vloc_ros.networks.place_export import onnx_of_place
from vloc_ros.networks.preprocessing import preprocess
from vloc_ros.networks.two_stage_export import onnx_of_look, onnx_of_pairs
from vloc_ros.networks.two_stage_files import load_two_stage

_THREADS = 2
_TOLERANCE = 1e-3  # of the largest value of an output: rounding, in another order of sums


@unique
class ExportKind(Enum):
    """Formats that a network can be exported to."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"

    @property
    def suffix(self) -> str:
        """How the names of its files end."""
        return {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".pt"}[self.value]


def export_local(path: Path, kind: ExportKind, out: Path, size: tuple[int, int], window: int) -> float:
    """Export a file of weights of local features.

    Args:
        path: the file of weights.
        kind: to which format.
        out: file to write; OpenVINO puts its weights beside it, as ``.bin``.
        size: (width, height) [px] of the images: TorchScript is for these alone, the others are checked with it.
        window: side of the windows of the key points that TorchScript gives [px].

    Returns:
        The largest difference from torch on a random image, relative to the largest value of each output.

    Raises:
        ConfigError: what is needed is not installed, or the size is not one the network takes.
        WeightsError: the file of weights cannot be used, or what was exported does something else than torch.
        DataError: the file cannot be written.
    """
    network, card = load_local_network(path)
    model = model_of(network, card)
    width, height = size
    if width % model.multiple or height % model.multiple or not 0 < width * height <= 100_000_000:
        raise ConfigError(f"the size {width}x{height} must be of multiples of {model.multiple} px for {card.network}")
    _require_suffix(out, kind)
    if kind is ExportKind.TORCHSCRIPT:
        difference = _torchscript(network, out, size, window)
    else:
        difference = _engine_file(network, model, kind, out, size)
    return _required(difference, out)


def export_place(path: Path, out: Path) -> float:
    """Export a file of weights of place recognition as ONNX, which beside these weights makes torch unnecessary.

    Args:
        path: the file of weights.
        out: file to write.

    Returns:
        The largest difference from torch on two random images, relative to the largest value of each output.

    Raises:
        ConfigError: what is needed is not installed, or the file to write is not called ``.onnx``.
        WeightsError: the file of weights cannot be used, or what was exported does something else than torch.
        DataError: the file cannot be written.
    """
    network, card = load_network(path)
    _require_suffix(out, ExportKind.ONNX)
    _require_engine(ExportKind.ONNX)
    content = onnx_of_place(network, card.sha256)
    images = _pictures(network.backbone.size)
    made = _written_onnx(content, out, {"images": images})
    with torch.inference_mode():
        expected = as_described(network(torch.from_numpy(images)))
    outputs = [expected.mean] if expected.variance is None else [expected.mean, expected.variance]
    return _required(_difference(made, [one.numpy() for one in outputs]), out)


def export_two_stages(path: Path, out: Path) -> tuple[Path, float]:
    """Export a file of weights of both stages as two ONNX files, which beside these weights make torch unnecessary.

    Args:
        path: the file of weights.
        out: file to write for the first stage; that for the second one is called ``<name>_pairs.onnx``.

    Returns:
        The file of the second stage, and the largest difference from torch on two random images and their pairs, relative to the
        largest value of each output.

    Raises:
        ConfigError: what is needed is not installed, or the file to write is not called ``.onnx``.
        WeightsError: the file of weights cannot be used, or what was exported does something else than torch.
        DataError: a file cannot be written.
    """
    network, card = load_two_stage(path)
    _require_suffix(out, ExportKind.ONNX)
    _require_engine(ExportKind.ONNX)
    images = _pictures(network.backbone.size)
    with torch.inference_mode():
        mean, patches = network.look(torch.from_numpy(images))
        points = network.points(patches[0], patches)
    second = out.with_name(out.stem + PAIRS_ENDING)
    looked = _written_onnx(onnx_of_look(network, card.sha256), out, {"images": images})
    query, candidates = patches[0].contiguous().numpy(), patches.contiguous().numpy()
    compared = _written_onnx(onnx_of_pairs(network, card.sha256), second, {"query": query, "candidates": candidates})
    return second, max(
        _required(_difference(looked, [mean.numpy(), patches.numpy()]), out),
        _required(_difference(compared, [points.numpy()]), second),
    )


def export_disam(path: Path, out: Path) -> tuple[list[Path], float]:
    """Export a file of weights of DISAM as ONNX files, which beside these weights make torch unnecessary.

    Args:
        path: the file of weights.
        out: file to write for the encoders. What finds conditions without being told, if the network can, goes beside it:
            ``<name>_classifier.onnx``, or without a classifier ``<name>_misfit.onnx``, which holds all encoders and decoders.

    Returns:
        The files, and the largest difference from torch on two random images in all conditions, relative to the largest value of
        each output.

    Raises:
        ConfigError: what is needed is not installed, or the file to write is not called ``.onnx``.
        WeightsError: the file of weights cannot be used, or what was exported does something else than torch.
        DataError: a file cannot be written.
    """
    network, card = load_disam(path)
    _require_suffix(out, ExportKind.ONNX)
    _require_engine(ExportKind.ONNX)
    form, numbers = network.form, range(len(network.form.conditions))
    images = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 3, form.height, form.width)).astype(np.float32)
    asked = [{"images": images, "condition": np.array(number)} for number in numbers]
    difference = _compared(
        onnx_of_encoders(network, card.sha256), out, asked, [list(encode_whole(network, images, k)) for k in numbers]
    )
    files = [out]
    if network.classifier is not None:
        files.append(out.with_name(out.stem + CLASSIFIER_ENDING))
        expected = [[logits(network, images)]]
        found = _compared(onnx_of_classifier(network, card.sha256), files[1], [{"images": images}], expected)
    elif len(network.decoders):
        files.append(out.with_name(out.stem + MISFIT_ENDING))
        expected = [[column] for column in misfit(network, images).T]
        found = _compared(onnx_of_misfit(network, card.sha256), files[1], asked, expected)
    else:
        found = 0.0
    return files, max(difference, found)


def export_glvl(path: Path, out: Path) -> float:
    """Export the global half of a file of weights of GLVL as ONNX, which beside these weights makes torch unnecessary.

    Args:
        path: the file of weights.
        out: file to write.

    Returns:
        The largest difference from torch on two random images, relative to the largest value.

    Raises:
        ConfigError: what is needed is not installed, or the file to write is not called ``.onnx``.
        WeightsError: the file of weights cannot be used, or what was exported does something else than torch.
        DataError: the file cannot be written.
    """
    network, card = load_glvl(path)
    _require_suffix(out, ExportKind.ONNX)
    _require_engine(ExportKind.ONNX)
    images = np.random.default_rng(1).random((2, 1, network.form.size, network.form.size), dtype=np.float32)
    return _compared(onnx_of_vectors(network, card.sha256), out, [{"images": images}], [[vectors_of(network, images)]])


def _compared(content: bytes, out: Path, asked: list[dict[str, NDArray[Any]]], expected: list[list[NDArray[np.float32]]]) -> float:
    """Write an ONNX file; the largest difference of what it answers from what is expected."""
    write_bytes(out, content)
    session = open_session(out.read_bytes(), _THREADS)
    answers = [session.run(None, inputs) for inputs in asked]
    return _required(max(_difference(made, right) for made, right in zip(answers, expected, strict=True)), out)


def _pictures(size: int) -> NDArray[np.float32]:
    """Two random images of a size, prepared."""
    return preprocess(list(np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)), size)


def _require_suffix(out: Path, kind: ExportKind) -> None:
    if out.suffix != kind.suffix:
        raise ConfigError(f"{out} must end in {kind.suffix}, as files of {kind.value} do")


def _require_engine(kind: ExportKind) -> None:
    needed = ["onnx", "openvino" if kind is ExportKind.OPENVINO else "onnxruntime"]
    missing = [name for name in needed if not is_installed(name)]
    if missing:
        raise ConfigError(
            f"vloc export needs {' and '.join(missing)}: do what requirements/engines.txt says (openvino.txt for OpenVINO)"
        )


def _required(difference: float, out: Path) -> float:
    if not difference <= _TOLERANCE:
        raise WeightsError(f"{out} does not do what torch does (difference {difference:.2g}): do not use it")
    return difference


def _torchscript(network: LocalNetwork, out: Path, size: tuple[int, int], window: int) -> float:
    width, height = size
    scripted = torchscript_of(network, window, height, width)
    write_bytes(out, scripted.save_to_buffer())
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made, expected = torch.jit.load(str(out))(image), for_vtr3(network, window)(image)
    return _difference([one.numpy() for one in made], [one.numpy() for one in expected])


def _engine_file(network: LocalNetwork, model: LocalModel, kind: ExportKind, out: Path, size: tuple[int, int]) -> float:
    _require_engine(kind)
    content = onnx_of(network, model)
    image = np.random.default_rng(1).random((1, model.colours, size[1], size[0]), dtype=np.float32)
    made = (
        _written_onnx(content, out, {"image": image}) if kind is ExportKind.ONNX else _written_openvino(content, out, image, model)
    )
    with torch.inference_mode():
        maps = network(torch.from_numpy(image))
    return _difference(made, [one.numpy() for one in (maps.logits, maps.scores, *maps.maps)])


def _written_onnx(content: bytes, out: Path, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    write_bytes(out, content)
    made: list[NDArray[np.float32]] = open_session(out.read_bytes(), _THREADS).run(None, inputs)
    return made


def _written_openvino(content: bytes, out: Path, image: NDArray[np.float32], model: LocalModel) -> list[NDArray[np.float32]]:
    import openvino

    core = openvino.Core()
    network = core.read_model(content, b"")
    network.set_rt_info(model.to_json(), METADATA)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(network, str(out), compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot write {out}: {error}") from error
    compiled = core.compile_model(core.read_model(str(out)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(one) for one in compiled([image]).values()]


def _difference(made: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> float:
    shares = [np.abs(a - b).max() / max(1.0, float(np.abs(b).max())) for a, b in zip(made, expected, strict=True)]
    return float(max(shares))
