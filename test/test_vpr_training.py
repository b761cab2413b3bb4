"""Joint training of retrieval and re-ranking: the loss, the loop in one process and two, what validation says, the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from network_samples import place as picture  # noqa: E402
from network_samples import write_places  # noqa: E402
from vpr_samples import SMALL, settings_of, train_small, write_start, write_tree  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.weights import load_card  # noqa: E402
from vloc_ros.errors import ConfigError, TrainingError  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind, preprocess  # noqa: E402
from vloc_ros.networks.files import save_network  # noqa: E402
from vloc_ros.networks.homography import homography_of  # noqa: E402
from vloc_ros.networks.network import random_network  # noqa: E402
from vloc_ros.networks.two_stage import random_two_stage  # noqa: E402
from vloc_ros.networks.two_stage_files import load_two_stage  # noqa: E402
from vloc_ros.training import checkpoint, run_folder  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.registry import DataSpec  # noqa: E402
from vloc_ros.training.sampling import Weighted  # noqa: E402
from vloc_ros.training.vpr_feed import VprBatch, VprFeed  # noqa: E402
from vloc_ros.training.vpr_mining import MinedTuple  # noqa: E402
from vloc_ros.training.vpr_objective import VprObjective, sare_independent, sare_joint, triplet  # noqa: E402
from vloc_ros.training.vpr_registry import open_vpr_source  # noqa: E402
from vloc_ros.training.vpr_settings import VprObjectiveSettings  # noqa: E402
from vloc_ros.training.vpr_validation import VprValidation, inliers  # noqa: E402

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """One thread, and no pictures of curves, which take as long as so small a training."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A tree, and weights to begin with."""
    folder = tmp_path_factory.mktemp("vpr")
    write_tree(folder / "tree")
    write_start(folder / "start.safetensors")
    return folder


def batch_of(seed: int, tuples: int = 2) -> VprBatch:
    """Random pictures; the second tuple lacks a negative."""
    images = [picture(seed + k, colour=True) for k in range(4 * tuples)]
    negatives = torch.arange(4 * tuples).reshape(tuples, 4)[:, 2:].clone()
    negatives[-1, -1] = -1
    firsts = torch.arange(tuples) * 4
    return VprBatch(torch.from_numpy(preprocess(images, 256)), firsts, firsts + 1, negatives)


class TestLosses:
    @staticmethod
    def vectors():
        rng = np.random.default_rng(4)
        query, positive, negatives = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), rng.normal(size=(3, 2, 5))
        negatives[0] = query[0] + 0.1 * negatives[0]
        present = np.array([[True, True], [True, False], [False, False]])
        return query, positive, negatives, present

    def test_triplet_is_of_distances_that_are_not_squared_over_all_negatives(self):
        query, positive, negatives, present = self.vectors()
        expected = np.zeros(3)
        for t in range(3):
            for n in range(2):
                nearer, farther = np.linalg.norm(query[t] - positive[t]), np.linalg.norm(query[t] - negatives[t, n])
                expected[t] += max(0.0, nearer - farther + 0.7) / 2.0 * present[t, n]
        tensors = [torch.tensor(part) for part in (query, positive, negatives, present)]
        assert triplet(*tensors, margin=0.7).numpy() == pytest.approx(expected, abs=1e-6)
        assert expected[0] > 0.0 and expected[2] == 0.0

    def test_it_is_that_of_torch_which_the_published_program_takes(self):
        query, positive, negatives, _ = self.vectors()
        theirs = torch.nn.TripletMarginLoss(margin=0.1, p=2, reduction="sum")
        q, p, n = (torch.tensor(part) for part in (query, positive, negatives))
        expected = sum(theirs(q[t : t + 1], p[t : t + 1], n[t, k : k + 1]) for t in range(3) for k in range(2)) / (3 * 2)
        ours = triplet(q, p, n, torch.ones(3, 2, dtype=torch.bool), 0.1).mean()
        assert float(ours) == pytest.approx(float(expected), abs=1e-5)

    def test_attraction_and_repulsion(self):
        query, positive, negatives, present = self.vectors()
        nearer = np.square(query - positive).sum(1)
        farther = np.square(query[:, None] - negatives).sum(2)
        chances = np.exp(-nearer[:, None]) / (np.exp(-nearer[:, None]) + np.exp(-farther))
        tensors = [torch.tensor(part) for part in (query, positive, negatives, present)]
        alone = (-np.log(chances) * present).sum(1) / 2.0
        assert sare_independent(*tensors, margin=0.0).numpy() == pytest.approx(alone, abs=1e-6)
        joint = -np.log(np.exp(-nearer) / (np.exp(-nearer) + (np.exp(-farther) * present).sum(1)))
        assert sare_joint(*tensors, margin=0.0).numpy() == pytest.approx(joint, abs=1e-6)


class TestObjective:
    def test_the_sum_by_hand(self):
        network, batch = random_two_stage(Backbone.CCT_SMALL, 1), batch_of(10)
        objective = VprObjective(VprObjectiveSettings(margin=0.05, rei_weight=3.0), True)
        with torch.no_grad():
            loss, terms = objective(network, batch, 0)
            seen = network(batch.images)
            mean, points = seen.mean.numpy(), network.regression(seen.local[[0, 4]], seen.local[[1, 5]])
        tuples = [(0, 1, [2, 3]), (4, 5, [6])]
        expected = sum(
            max(0.0, np.linalg.norm(mean[q] - mean[p]) - np.linalg.norm(mean[q] - mean[n]) + 0.05)
            for q, p, ns in tuples
            for n in ns
        ) / (2 * 2)
        assert terms["triplet"] == pytest.approx(expected, abs=1e-5) and terms["homographies"] == 1.0
        errors = []
        matrices = homography_of(points[:, :4], points[:, 4:])[0].numpy().astype(np.float64)
        centres = np.array([[16.0 * x + 8.0, 16.0 * y + 8.0] for y in range(16) for x in range(16)])
        for k, (q, p) in enumerate(((0, 1), (4, 5))):
            alike = seen.local[q].flatten(1).T.numpy() @ seen.local[p].flatten(1).numpy()
            to, back = alike.argmax(1), alike.argmax(0)
            mutual = [i for i in range(256) if back[to[i]] == i]
            here, there = centres[mutual], centres[to[mutual]]
            count = int(cv2.findHomography(here.astype(np.float32), there.astype(np.float32), cv2.RANSAC, 24.0)[1].sum())
            mapped = np.c_[here, np.ones(len(here))] @ matrices[k].T
            missed = np.sort(np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - there, axis=1))
            errors.append(missed[:count].mean())
        assert terms["rei"] == pytest.approx(np.mean(errors), rel=1e-3)
        assert float(loss) == pytest.approx(terms["triplet"] + 3.0 * terms["rei"], rel=1e-5)

    def test_the_homography_teaches_the_backbone_through_the_correlation_only(self):
        network, batch = random_two_stage(Backbone.CCT_SMALL, 1), batch_of(10)
        weights = network.place.encoder.classifier.blocks[-1].linear2.weight
        one = batch._replace(negatives=torch.zeros(2, 0, dtype=torch.int64))  # without negatives there is no triplet loss
        loss, _ = VprObjective(VprObjectiveSettings(), True)(network, one, 0)
        loss.backward()
        assert float(weights.grad.abs().max()) > 0.0 and float(network.regression.points.weight.grad.abs().max()) > 0.0
        weights.grad = None
        through = network.regression.forward
        network.regression.forward = lambda a, b: through(a.detach(), b.detach())
        loss, _ = VprObjective(VprObjectiveSettings(), True)(network, one, 0)
        loss.backward()
        assert weights.grad is None or float(weights.grad.abs().max()) == 0.0

    def test_images_in_parts_change_nothing(self):
        network, batch = random_two_stage(Backbone.CCT_SMALL, 2), batch_of(20)
        gradients = []
        for at_once in (64, 3):
            network.zero_grad()
            loss, _ = VprObjective(VprObjectiveSettings(images_at_once=at_once), True)(network, batch, 0)
            loss.backward()
            gradients.append([float(loss.detach()), network.place.pool.p.grad.clone(), network.regression.positions.grad.clone()])
        assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
        for ours, theirs in zip(gradients[0][1:], gradients[1][1:], strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * float(ours.abs().max()))

    def test_descriptors_alone(self):
        network = random_two_stage(Backbone.CCT_SMALL, 1)
        loss, terms = VprObjective(VprObjectiveSettings(margin=1.0), False)(network.place, batch_of(10), 0)
        assert set(terms) == {"triplet", "too_near"} and float(loss.detach()) == pytest.approx(terms["triplet"])
        empty = batch_of(10, 1)._replace(queries=torch.zeros(0, dtype=torch.int64))
        assert float(VprObjective(VprObjectiveSettings(), False)(network.place, empty, 0)[0]) == 0.0


class TestFeed:
    def test_samples_are_the_pictures_of_a_tuple_and_photos_are_seen_from_elsewhere(self, data, tmp_path):
        settings = settings_of()
        tree = Weighted(open_vpr_source(DataSpec("tree", data / "tree"), settings), 1.0, "tree")
        photos = Weighted(open_vpr_source(DataSpec("homography", write_places(tmp_path / "p", 2)), settings), 1.0, "photos")
        feed = VprFeed([tree, photos], settings, 256, tmp_path)
        plain, photo = len(tree.source.shots) - 1, len(tree.source.shots)
        sample = feed.sample(MinedTuple(plain, 0, (4, photo)), 3)
        assert sample.images.shape == (4, 256, 256, 3)
        for place, row in enumerate((plain, 0, 4)):
            assert np.array_equal(sample.images[place], feed.image(row))
        made, again, other = (feed.sample(MinedTuple(photo, photo, (0,)), number).images for number in (3, 3, 4))
        assert np.array_equal(made, again) and not np.array_equal(made[0], other[0]) and not np.array_equal(made[0], made[1])
        assert np.array_equal(made[2], feed.image(0))
        batch = feed.collate([sample, feed.sample(MinedTuple(photo, photo, (0,)), 3)])
        assert (batch.queries.tolist(), batch.positives.tolist()) == ([0, 4], [1, 5])
        assert batch.negatives.tolist() == [[2, 3], [6, -1]]


class TestLoop:
    def test_interrupted_in_the_middle_of_a_cache_and_resumed_equals_never_interrupted(self, data, tmp_path):
        start, tree = data / "start.safetensors", data / "tree"

        def stop(done):
            if done.step == 3:  # the second cache has two steps
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train_small(start, tree, tmp_path / "cut", {}, on_step=stop)
        assert checkpoint.read(tmp_path / "cut").state["run"]["step"] in (3, 4)
        kept = (tmp_path / "cut" / "mined" / "000001.json").read_text()
        outcome, _ = train_small(start, tree, tmp_path / "cut", {})
        whole, _ = train_small(start, tree, tmp_path / "whole", {})
        assert outcome.steps == whole.steps == 4
        assert (tmp_path / "whole" / "mined" / "000001.json").read_text() == kept
        ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("cut", "whole"))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

    @pytest.mark.slow
    def test_killed_and_resumed_equals_never_killed(self, data, tmp_path):
        def run(out: str, environment: dict[str, str]) -> int:
            words = [str(data / "start.safetensors"), str(data / "tree"), str(tmp_path / out)]
            command = [sys.executable, str(HERE / "vpr_samples.py"), *words]
            return subprocess.run(command, env=ENVIRONMENT | environment, cwd=HERE, check=False).returncode

        assert run("cut", {"DIE_AT": "1"}) == -signal.SIGKILL and run("cut", {"DIE_AT": "4"}) == -signal.SIGKILL
        assert run("cut", {}) == run("whole", {}) == 0
        ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("cut", "whole"))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    @pytest.mark.slow
    def test_two_processes_mine_once_and_learn_what_one_does(self, data, tmp_path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        words = [str(data / "start.safetensors"), str(data / "tree")]
        program = [sys.executable, str(HERE / "vpr_samples.py"), *words]
        last = ["training.samples=4", "training.learning_rate=1e-6"]
        still = ENVIRONMENT | {"NO_DROPOUT": "1"}
        children = [
            subprocess.Popen(
                [*program, str(tmp_path / "two"), *last], env=still | told | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=HERE
            )
            for rank in range(2)
        ]
        try:
            assert subprocess.run([*program, str(tmp_path / "one"), *last], env=still, cwd=HERE, check=False).returncode == 0
            assert [child.wait(timeout=300) for child in children] == [0, 0]
        finally:
            for child in children:
                child.kill()
        mined = [(tmp_path / name / "mined" / "000000.json").read_text() for name in ("one", "two")]
        assert mined[0] == mined[1]
        ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("one", "two"))
        gradients = [name for name in ours if name.endswith("exp_avg")]
        assert gradients
        for name in gradients:
            assert float((ours[name] - theirs[name]).abs().max()) < 0.02 * float(ours[name].abs().max()) + 1e-9, name

    def test_what_was_mined_is_damaged_or_gone(self, data, tmp_path, caplog):
        start, tree, run = data / "start.safetensors", data / "tree", tmp_path / "run"

        def cut(done):
            if done.step == 1:
                raise RuntimeError("power cut")

        slow = {"training.samples": 4}
        with pytest.raises(RuntimeError):
            train_small(start, tree, run, slow | {"training.checkpoint_every": 1}, on_step=cut)
        (run / "mined" / "000000.json").write_text("{}")
        with pytest.raises(TrainingError, match=r"000000\.json is damaged: remove it"):
            train_small(start, tree, run, slow)
        (run / "mined" / "000000.json").unlink()
        assert train_small(start, tree, run, slow)[0].steps == 2


class TestValidation:
    def test_inliers_of_equal_images_are_all_and_of_a_shift_beyond_the_limit_none(self):
        network = random_two_stage(Backbone.CCT_SMALL, 4)
        with torch.no_grad():
            local = network(torch.from_numpy(preprocess([picture(1, colour=True)], 256))).local
            points = network.regression.points
            points.weight.zero_()  # it says the identity, whatever it sees
            assert inliers(network, local, local, 48.0).tolist() == [256]
            points.bias[8:].add_(60.0)
            assert inliers(network, local, local, 48.0).tolist() == [0]
            assert inliers(network, local, local, 90.0).tolist() == [256]
            points.bias[8:] = points.bias[8:].reshape(4, 2)[[0, 3, 2, 1]].flatten()  # turned inside out
            assert inliers(network, local, local, 1e4).tolist() == [0]

    def test_figures_of_a_network_that_knows_brightness_alone(self, data):
        source = open_vpr_source(DataSpec("tree", data / "tree"), settings_of(), held_out=True)
        settings = settings_of(**{"validation.queries": 10, "validation.database": 10}).validation
        network = random_two_stage(Backbone.CCT_SMALL, 4)
        before = network.training
        found = VprValidation([source], settings, CPU, True)(network)
        assert network.training is before
        assert set(found) == {"task", "recall_1", "reranked_recall_1", "tree val/recall_1", "tree val/reranked_recall_1"}
        assert found["task"] == found["reranked_recall_1"] and 0.0 <= found["recall_1"] <= 1.0
        plain = VprValidation([source], settings, CPU, False)(network.place)
        assert plain["task"] == plain["recall_1"] == pytest.approx(found["recall_1"])

    def test_it_needs_something_that_can_be_wrong(self, tmp_path):
        one = open_vpr_source(DataSpec("tree", write_tree(tmp_path / "tree", 1)), settings_of(), held_out=True)
        with pytest.raises(ConfigError, match="nothing in tree val is a wrong answer"):
            VprValidation([one], settings_of().validation, CPU, True)
        with pytest.raises(ConfigError, match="at least one held-out source"):
            VprValidation([], settings_of().validation, CPU, True)


class TestCommand:
    SETS = tuple(word for key, value in (SMALL | {"training.samples": 4}).items() for word in ("--set", f"{key}={value}"))

    def command(self, data: Path, out: Path, start: Path, *more: str) -> list[str]:
        words = ["--data", f"tree:{data / 'tree'}", "--held-out", f"tree:{data / 'tree'}", "--start", str(start), "--out", str(out)]
        return ["train", "vpr", *words, *self.SETS, *more]

    def test_both_stages_learn_and_the_weights_are_of_both(self, data, tmp_path, capsys):
        start = data / "start.safetensors"
        assert main(self.command(data, tmp_path / "run", start, "--reranker", "homography", "--json")) == 0
        values = json.loads(capsys.readouterr().out)
        trained, card = load_two_stage(Path(values["weights"]))
        first, of_start = load_two_stage(start)
        assert (
            values["steps"] == 2 and card.parent == of_start.sha256 and "re-projection error of inliers (x 100)" in card.trained_on
        )
        changed = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, first.state_dict()[name])}
        assert {"place.pool.p", "regression.positions", "place.encoder.classifier.blocks.1.linear2.weight"} <= changed
        assert not any(name.startswith(("place.encoder.tokenizer", "place.encoder.classifier.norm")) for name in changed)
        row = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
        assert {"triplet", "rei", "recall_1", "reranked_recall_1", "task", "best"} <= set(row)

    def test_without_a_reranker_the_second_stage_stays_as_it_is(self, data, tmp_path):
        start = data / "start.safetensors"
        assert main(self.command(data, tmp_path / "run", start, "--set", "objective.margin=1")) == 0
        ours, theirs = (load_two_stage(path)[0].state_dict() for path in (tmp_path / "run" / "best.safetensors", start))
        changed = {name.split(".")[0] for name in ours if not torch.equal(ours[name], theirs[name])}
        assert changed == {"place"}

    def test_first_and_second_stage_of_two_files(self, data, tmp_path, capsys):
        place = random_network(NetworkKind.PLAIN_GEM, Backbone.CCT_SMALL, 9)
        save_network(tmp_path / "place.safetensors", place, "nothing")
        command = self.command(data, tmp_path / "run", tmp_path / "place.safetensors", "--reranker", "homography")
        assert main(command) == 1
        assert "has no second stage to re-rank with: name one with --dhe" in capsys.readouterr().err
        assert main([*command, "--dhe", str(data / "start.safetensors"), "--set", "training.learning_rate=0"]) == 0
        made = load_two_stage(tmp_path / "run" / "best.safetensors")[0].state_dict()
        assert torch.equal(made["place.encoder.classifier.positional_emb"], place.encoder.classifier.positional_emb)
        second = load_two_stage(data / "start.safetensors")[0]
        assert torch.equal(made["regression.points.weight"], second.regression.points.weight)

    def test_weights_that_do_not_fit_each_other(self, data, tmp_path, capsys):
        save_network(tmp_path / "gem.safetensors", random_network(NetworkKind.GEM, Backbone.MOBILENETV3), "nothing")
        command = self.command(data, tmp_path / "run", tmp_path / "gem.safetensors", "--dhe", str(data / "start.safetensors"))
        assert main(command) == 1
        assert "begin with weights of the same backbone" in capsys.readouterr().err

    def test_another_network_learns_by_the_triplet_alone(self, data, tmp_path):
        save_network(tmp_path / "gem.safetensors", random_network(NetworkKind.GEM, Backbone.MOBILENETV3), "nothing")
        assert main(self.command(data, tmp_path / "run", tmp_path / "gem.safetensors")) == 0
        assert load_card(tmp_path / "run" / "best.safetensors").network == "gem"

    def test_nothing_named(self, capsys):
        assert main(["train", "vpr", "--out", "run"]) == 1
        assert "name what to learn from" in capsys.readouterr().err
        assert main(["train", "vpr", "--show-settings"]) == 0
        assert "cache_refresh_rate: 1000" in capsys.readouterr().out


def test_shares_of_processes_are_the_batch(data, tmp_path):
    settings = settings_of(**{"training.batch": 4})
    source = Weighted(open_vpr_source(DataSpec("tree", data / "tree"), settings), 1.0, "tree")
    (tmp_path / "mined").mkdir()
    tuples = [[10, 0, 4], [11, 1, 6], [12, 2, 8], [13, 3, 0]]
    text = json.dumps({"format": "vloc mined tuples", "version": 1, "cache": 0, "tuples": tuples})
    (tmp_path / "mined" / "000000.json").write_text(text)
    feed = VprFeed([source], settings, 256, tmp_path)
    whole = next(feed.batches(0, 1, Group(0, 1, CPU)))
    assert whole.count == 4 and whole.content.images.shape == (12, 3, 256, 256)
    expected = preprocess([source.source.shots[row].read() for row in tuples[3]], 256)
    assert torch.allclose(whole.content.images[9:], torch.from_numpy(expected), atol=1e-5)
