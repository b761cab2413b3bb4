"""The descriptor of DISAM: conditions said and found, what is remembered, and the engines."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from disam_samples import CONDITIONS, IMAGES, written  # noqa: E402
from rerank_samples import PLACE, QUERY, places  # noqa: E402

from vloc_ros.calibration.base import base_of  # noqa: E402
from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.onnx_file import CLASSIFIER_WEIGHTS, MISFIT_WEIGHTS, PLACE_WEIGHTS, metadata_of  # noqa: E402
from vloc_ros.data.weights import load_card, load_weights  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, WeightsError  # noqa: E402
from vloc_ros.mapping import MapStore  # noqa: E402
from vloc_ros.networks.disam_form import Stage  # noqa: E402
from vloc_ros.networks.disam_preprocessing import disam_images  # noqa: E402
from vloc_ros.networks.files import load_network  # noqa: E402
from vloc_ros.retrieval import Disam, Inference, View, create_descriptor  # noqa: E402
from vloc_ros.retrieval.domain_engine import OnnxDomainEngine, TorchDomainEngine, domain_engine, exported_parts  # noqa: E402
from vloc_ros.retrieval.engines import can_compute  # noqa: E402
from vloc_ros.retrieval.of_map import MapDescriptor  # noqa: E402
from vloc_ros.retrieval.weights_file import descriptor_of  # noqa: E402


def of(made, path, **how):
    """The same weights, computed by torch."""
    return Disam(TorchDomainEngine(load_card(path), made, Disam.load(path).engine.parts), **how)


def counted(monkeypatch, descriptor):
    """How many images each method of an engine is given."""
    calls = []
    for name in ("encode", "logits", "misfit"):
        real = getattr(descriptor.engine, name)

        def spy(images, *rest, name=name, real=real):
            calls.append((name, len(images), *rest))
            return real(images, *rest)

        monkeypatch.setattr(descriptor.engine, name, spy)
    return calls


@pytest.mark.parametrize(("stage", "length"), [(Stage.COARSE, 0), (Stage.FINE, 0), (Stage.COARSE, 20)])
def test_onnx_runtime_and_torch_agree_in_each_condition(tmp_path, stage, length):
    path, made = written(tmp_path / "yard.safetensors", stage=stage, length=length)
    exported, plain = Disam.load(path), of(made, path)
    assert isinstance(exported.engine, OnnxDomainEngine)
    rows = []
    for condition in CONDITIONS:
        views = [View(image=image, condition=condition) for image in IMAGES]
        vectors, expected = exported.describe_many(views), plain.describe_many(views)
        assert np.allclose(vectors, expected, atol=1e-4) and np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        assert np.allclose(exported.latent(views[0]), plain.latent(views[0]), atol=1e-4)
        rows.append(vectors)
    assert np.abs(rows[0] - rows[1]).max() > 0.05 and np.abs(rows[1] - rows[2]).max() > 0.05, "each has its own encoder"
    for how in (Inference.CLASSIFIER, Inference.RECONSTRUCTION):
        one, other = Disam.load(path, how), of(made, path, inference=how)
        assert np.allclose(one.probabilities(IMAGES), other.probabilities(IMAGES), atol=1e-4)


def test_a_file_that_does_not_say_how_latents_are_compressed_is_refused(tmp_path):
    path, _ = written(tmp_path / "yard.safetensors", length=20)
    assert main(["export", str(path), "--to", "onnx"]) == 0
    tensors, card = load_weights(path)
    for changed in ({"compression.mean": np.zeros((2, 5), np.float32)}, {"compression.basis": np.zeros(3, np.float32)}):
        damaged = tensors | changed
        with pytest.raises(WeightsError, match=r"it does not say how its latents are compressed"):
            domain_engine(damaged, card, "it", exported_parts(path, card.sha256))


def test_the_numbers_are_those_of_the_network(tmp_path):
    path, made = written(tmp_path / "yard.safetensors")
    descriptor, images = Disam.load(path), torch.from_numpy(disam_images(IMAGES, made.form))
    with torch.inference_mode():
        latents = made.encoders[2](images)
        vectors, logits = made.compression(latents, 2), made.classifier(made.encoders[0].first(images))
        misfit = torch.stack([(made.decoders[k](made.encoders[k](images)) - images).abs().mean(dim=(1, 2, 3)) for k in range(3)], 1)
    view = View(image=IMAGES[1], condition="snow")
    assert descriptor.latent(view).shape == made.form.latent and descriptor.form == made.form
    assert np.allclose(descriptor.latent(view), latents[1].numpy(), atol=1e-4)
    assert np.allclose(descriptor.describe(view), vectors[1].numpy(), atol=1e-4)
    assert np.allclose(descriptor.probabilities(IMAGES), torch.softmax(logits, 1).numpy(), atol=1e-4)
    assert descriptor.infer(IMAGES) == [CONDITIONS[k] for k in logits.argmax(dim=1)]
    by_misfit = Disam.load(path, Inference.RECONSTRUCTION)
    assert by_misfit.infer(IMAGES) == [CONDITIONS[k] for k in misfit.argmin(dim=1)]
    assert np.allclose(by_misfit.probabilities(IMAGES), (1 / misfit / (1 / misfit).sum(1, keepdim=True)).numpy(), atol=1e-4)


def test_views_of_mixed_conditions_get_what_each_gets_alone(tmp_path):
    path, made = written(tmp_path / "yard.safetensors")
    plain = of(made, path)
    said = ["night", "", "snow", "day", "dawn", "night", "", "day", "snow", "night", ""]
    rng = np.random.default_rng(3)
    views = [View(image=rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), condition=one) for one in said]
    together, descriptor = Disam.load(path).describe_many(views), Disam.load(path)
    found = descriptor.conditions_of(views)
    assert [one for one, given in zip(found, said, strict=True) if given in CONDITIONS] == [c for c in said if c in CONDITIONS]
    for view, row, condition in zip(views, together, found, strict=True):
        alone = plain.describe(View(image=view.image, condition=condition))
        assert np.allclose(row, alone, atol=1e-4)
    assert descriptor.infer([views[4].image]) == [found[4]], "a condition without an encoder is found out"
    assert descriptor.describe_many([]).shape == (0, descriptor.card.dimension)


def test_a_report_that_asks_for_all_computes_once(tmp_path, monkeypatch):
    descriptor = Disam.load(written(tmp_path / "yard.safetensors")[0])
    calls = counted(monkeypatch, descriptor)
    view = View(image=IMAGES[0])
    vector, latent = descriptor.describe(view), descriptor.latent(view)
    condition = descriptor.infer([IMAGES[0].copy()])[0]
    descriptor.probabilities([IMAGES[0]])
    assert calls == [("logits", 1), ("encode", 1, CONDITIONS.index(condition))]
    latent[:] = 0.0
    assert descriptor.latent(view).any(), "what is remembered cannot be changed from outside"
    assert np.array_equal(descriptor.describe(view), vector)
    descriptor.describe_many([View(image=image) for image in IMAGES])
    assert sum(size for name, size, *_ in calls if name == "encode") == 3
    other = next(name for name in CONDITIONS if name != condition)
    assert not np.allclose(descriptor.describe(View(image=IMAGES[0], condition=other)), vector)


def test_the_condition_that_is_said_is_not_looked_for(tmp_path, monkeypatch):
    descriptor = Disam.load(written(tmp_path / "yard.safetensors")[0])
    calls = counted(monkeypatch, descriptor)
    descriptor.describe_many([View(image=image, condition="night") for image in IMAGES])
    assert calls == [("encode", 3, 1)]


def test_images_of_one_colour_and_views_without_one(tmp_path):
    descriptor = Disam.load(written(tmp_path / "yard.safetensors")[0])
    flat = View(image=np.full((40, 50), 99, np.uint8))
    rows = descriptor.describe_many([flat, View(image=IMAGES[0])])
    assert not rows[0].any() and np.linalg.norm(rows[1]) == pytest.approx(1.0, abs=1e-5)
    assert not descriptor.latent(flat).any() and descriptor.latent(flat).shape == descriptor.form.latent
    with pytest.raises(DataError, match="needs the image"):
        descriptor.describe(View())


def test_grey_images_are_those_with_three_equal_channels(tmp_path):
    descriptor = Disam.load(written(tmp_path / "yard.safetensors")[0])
    grey = IMAGES[0][:, :, 0]
    assert np.array_equal(descriptor.describe(View(image=grey)), descriptor.describe(View(image=np.stack([grey] * 3, axis=2))))


def test_how_conditions_are_found_follows_from_what_there_is(tmp_path, caplog):
    both, bare = written(tmp_path / "a.safetensors")[0], written(tmp_path / "c.safetensors", classifier=False, decoders=False)[0]
    decoders = written(tmp_path / "b.safetensors", classifier=False)[0]
    assert Disam.load(both).inference is Inference.CLASSIFIER and Disam.load(decoders).inference is Inference.RECONSTRUCTION
    with caplog.at_level(logging.WARNING):
        reference = Disam.load(bare)
    assert reference.inference is Inference.REFERENCE and "taken for some of 'day'" in caplog.text
    assert reference.infer(IMAGES) == ["day"] * 3
    assert np.allclose(reference.describe(View(image=IMAGES[0])), reference.describe(View(image=IMAGES[0], condition="day")))
    for path, how, lacks in [(decoders, Inference.CLASSIFIER, "no classifier"), (bare, Inference.RECONSTRUCTION, "no decoders")]:
        with pytest.raises(ConfigError, match=lacks):
            Disam.load(path, how)


def test_what_is_exported_needs_no_torch(tmp_path, monkeypatch, capsys):
    for name, parts, ending, key in [
        ("yard", {}, "_classifier.onnx", CLASSIFIER_WEIGHTS),
        ("site", {"classifier": False}, "_misfit.onnx", MISFIT_WEIGHTS),
    ]:
        path, made = written(tmp_path / f"{name}.safetensors", **parts)
        expected = of(made, path).describe_many([View(image=image) for image in IMAGES])
        assert main(["export", str(path), "--to", "onnx", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["difference"] < 1e-3
        sha256 = load_card(path).sha256
        assert metadata_of((tmp_path / f"{name}.onnx").read_bytes(), "it") == {PLACE_WEIGHTS: sha256}
        assert metadata_of((tmp_path / f"{name}{ending}").read_bytes(), "it") == {key: sha256}
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "torch", None)
            without.setitem(sys.modules, "onnx", None)
            descriptor = create_descriptor(str(path))
            assert can_compute(path, sha256)
            assert np.allclose(descriptor.describe_many([View(image=image) for image in IMAGES]), expected, atol=1e-4)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        (tmp_path / "yard_classifier.onnx").unlink()
        told = create_descriptor(str(tmp_path / "yard.safetensors"))
        assert told.describe(View(image=IMAGES[0], condition="day")).any(), "who says the condition needs no more"
        with pytest.raises(ConfigError, match=r"has no yard_classifier\.onnx"):
            told.describe(View(image=IMAGES[0]))
        (tmp_path / "yard.onnx").unlink()
        with pytest.raises(ConfigError, match=r"has no yard\.onnx .*`vloc export yard\.safetensors --to onnx"):
            create_descriptor(str(tmp_path / "yard.safetensors"))


def test_a_card_of_another_length_is_noticed_without_torch_too(tmp_path, monkeypatch, capsys):
    path, _ = written(tmp_path / "yard.safetensors")
    assert main(["export", str(path), "--to", "onnx"]) == 0
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps(card | {"dimension": 7}), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsError, match="its card says 7"):
        create_descriptor(str(path)).describe(View(image=IMAGES[0]))


def test_torch_computes_where_there_is_nothing_else(tmp_path, monkeypatch):
    path, made = written(tmp_path / "yard.safetensors")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    descriptor = Disam.load(path)
    assert isinstance(descriptor.engine, TorchDomainEngine)
    assert np.allclose(descriptor.describe(View(image=IMAGES[0])), of(made, path).describe(View(image=IMAGES[0])), atol=1e-5)


def test_weights_in_a_map_describe_as_those_in_a_file(tmp_path):
    path, _ = written(tmp_path / "yard.safetensors")
    inside = descriptor_of(path.read_bytes(), load_card(path))
    view = View(image=IMAGES[0])
    assert isinstance(inside, Disam) and np.array_equal(inside.describe(view), Disam.load(path).describe(view))
    assert inside.card == load_card(path).model_card


def test_a_map_keeps_the_card_and_never_mixes_two_models(tmp_path):
    first, other = written(tmp_path / "a.safetensors")[0], tmp_path / "more" / "a.safetensors"
    other.parent.mkdir()
    written(other, seed=9)
    with MapStore.open(places(tmp_path / "site.vloc")) as store:
        one = MapDescriptor.of(store, str(first))
        for id in PLACE:
            one.keep(store, id, one.vector(store, id))
        assert one.descriptor.card in store.model_cards()
        assert one.index(store, [*PLACE, QUERY]).search(one.vector(store, QUERY), 1).ids[0] == QUERY
        assert MapDescriptor.of(store, str(other)).stored(store)[0] == []


def test_commands_for_other_networks_refuse_these_weights(tmp_path):
    path, _ = written(tmp_path / "yard.safetensors")
    with pytest.raises(WeightsError, match="which `vloc train disam` alone takes"):
        load_network(path)
    with MapStore.open(places(tmp_path / "site.vloc")) as store, pytest.raises(WeightsError, match="learn from conditions"):
        base_of(store, path, tmp_path)


def test_lists_of_weights_know_it(tmp_path, capsys):
    written(tmp_path / "yard.safetensors")
    assert main(["weights", "list", str(tmp_path)]) == 0
    assert "disam on 4 channels, 64x48, coarse" in capsys.readouterr().out
    assert main(["weights", "info", str(tmp_path / "yard.safetensors")]) == 0
    assert "day,night,snow" in capsys.readouterr().out
