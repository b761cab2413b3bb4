"""What the joint training learns from: sources of queries and a database, and the tuples that are mined of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from network_samples import write_places  # noqa: E402
from place_samples import MadeUpPlaces  # noqa: E402
from vpr_samples import settings_of, write_tree  # noqa: E402

from vloc_ros.errors import ConfigError, DataError, TrainingError  # noqa: E402
from vloc_ros.training.registry import DataSpec  # noqa: E402
from vloc_ros.training.sampling import Weighted  # noqa: E402
from vloc_ros.training.vpr_mining import Miner, Pictures, dumps, loads, nearest, require_negatives  # noqa: E402
from vloc_ros.training.vpr_registry import open_vpr_source  # noqa: E402
from vloc_ros.training.vpr_settings import Mining, MiningSettings, default_settings, require_whole  # noqa: E402
from vloc_ros.training.vpr_sources import Shot, VprSource, of_places  # noqa: E402


def on_a_line(places: list[float], query: float, conditions: tuple[str, ...] = ("",), **others: object) -> VprSource:
    """Pictures whose descriptor is where they are; queries after them, at one place each; near is 2.5, positive 1.0."""
    database = np.array(places)
    at = [*places, *([query] * len(conditions))]
    count = len(conditions)
    positives = [np.flatnonzero(np.abs(database - query) <= 1.0) for _ in range(count)]
    near = [np.flatnonzero(np.abs(database - query) <= 2.5) for _ in range(count)]
    shots = [Shot(f"{place:g}", lambda: np.zeros((8, 8), np.uint8)) for place in places]
    shots += [Shot(f"{at[-1]:g} {c}", lambda: np.zeros((8, 8), np.uint8), c) for c in conditions]
    queries = np.arange(len(places), len(at))
    return VprSource("line", tuple(shots), queries, np.arange(len(places)), positives, near, **others)


def described_by_name(pictures: Pictures, asked: list[int] | None = None):
    """The descriptor of a picture on a line is the number that its name begins with."""

    def describe(rows):
        if asked is not None:
            asked.extend(rows.tolist())
        return np.array([[float(pictures.shots[row].name.split()[0])] for row in rows], dtype=np.float32)

    return describe


def mined(source: VprSource, seed: int = 0, cache: int = 0, **settings: object):
    pictures = Pictures([Weighted(source, 1.0, "line")])
    miner = Miner(pictures, MiningSettings(**({"cache_refresh_rate": 1, "negs_num_per_query": 2} | settings)), seed)
    return miner.mine(cache, described_by_name(pictures))


LINE = [0.0, 0.9, 0.3, 2.0, 2.6, 3.0, 9.0, -2.4, -2.7]


class TestMining:
    def test_the_best_positive_is_the_nearest_and_negatives_are_the_hardest_that_are_far_enough(self):
        assert mined(on_a_line(LINE, 0.2)) == [(9, 2, (7, 5))]  # 2.0 and 2.6 are near, as 2.5 is the limit

    def test_partial_mining_looks_at_a_sample_alone(self):
        asked: list[int] = []
        pictures = Pictures([Weighted(on_a_line(LINE, 0.2), 1.0, "line")])
        miner = Miner(pictures, MiningSettings(cache_refresh_rate=1, neg_samples_num=3), 5)
        found = miner.mine(0, described_by_name(pictures, asked))
        assert len(set(asked)) == len(asked) <= 1 + 3 + 3  # the query, its positives, the sample
        assert set(found[0].negatives) <= set(asked) - {9, 0, 1, 2, 3, 4}

    def test_it_follows_from_seed_and_number_of_the_cache(self):
        source = on_a_line([float(k) for k in range(60)], 30.2)
        same = [mined(source, 1, 4, neg_samples_num=5) for _ in range(2)]
        assert same[0] == same[1]
        assert {tuple(mined(source, 1, cache, neg_samples_num=5)) for cache in range(4)} != {tuple(same[0])}

    def test_full_mining_looks_at_everything_and_random_at_nothing_far_away(self):
        many = on_a_line([float(k) for k in range(200)], 100.2)
        assert mined(many, mining=Mining.FULL, neg_samples_num=1)[0].negatives == (103, 97)
        asked: list[int] = []
        pictures = Pictures([Weighted(many, 1.0, "line")])
        miner = Miner(pictures, MiningSettings(Mining.RANDOM, cache_refresh_rate=1, negs_num_per_query=5), 1)
        found = miner.mine(0, described_by_name(pictures, asked))[0]
        assert sorted(asked) == [100, 101, 200]  # the positives and the query
        assert len(set(found.negatives)) == 5 and not set(found.negatives) & {98, 99, 100, 101, 102}

    def test_weighted_mining_asks_for_the_night_as_often_as_for_the_day(self):
        source = on_a_line(LINE, 0.2, ("",) * 19 + ("night",))
        night = len(LINE) + 19
        for mining, low, high in ((Mining.PARTIAL, 18, 22), (Mining.WEIGHTED, 160, 240)):
            found = mined(source, mining=mining, cache_refresh_rate=400)
            assert low <= sum(item.query == night for item in found) <= high, mining

    def test_every_query_comes_once_before_any_comes_again(self):
        source = on_a_line(LINE, 0.2, ("",) * 6)
        queries = [item.query for item in mined(source, cache_refresh_rate=12)]
        assert sorted(queries[:6]) == sorted(queries[6:]) == list(range(9, 15))

    def test_negatives_come_from_other_sources_too_but_not_where_a_source_names_its_own(self):
        plain, named = on_a_line([0.0, 50.0], 0.2), on_a_line([0.0, 7.0, 8.0], 0.2, negatives=[np.array([2])])
        pictures = Pictures([Weighted(plain, 1.0, "a"), Weighted(named, 1.0, "b")])
        miner = Miner(pictures, MiningSettings(cache_refresh_rate=40, negs_num_per_query=9), 0)
        found = set(miner.mine(0, described_by_name(pictures)))
        assert found == {(2, 0, (1,)), (6, 3, (5,))}  # the others of b may show anything
        third = on_a_line([4.0], 4.0)
        pictures = Pictures([Weighted(plain, 1.0, "a"), Weighted(third, 1e-9, "c")])
        miner = Miner(pictures, MiningSettings(cache_refresh_rate=1, negs_num_per_query=9), 0)
        assert miner.mine(0, described_by_name(pictures)) == [(2, 0, (3, 1))]

    def test_equal_distances_keep_their_order(self):
        rows = np.arange(4)
        assert nearest(np.zeros(1, np.float32), np.array([[1.0], [-1.0], [0.5], [1.0]], np.float32), rows, 3).tolist() == [2, 0, 1]

    def test_something_must_be_another_place(self):
        with pytest.raises(ConfigError, match="nothing in line is another place"):
            require_negatives([on_a_line([0.0, 1.0], 0.2)], 2)
        require_negatives([on_a_line([0.0, 1.0], 0.2)], 0)
        with pytest.raises(DataError, match="no picture of the database shows"):
            VprSource("none", (), np.zeros(0, np.int64), np.zeros(0, np.int64), [], [])


def test_mined_tuples_in_a_file():
    tuples = mined(on_a_line(LINE, 0.2), cache_refresh_rate=3)
    text = dumps(tuples, 7)
    assert loads(text, 7, 10, "file") == tuples
    for damaged, cache, size in ((text[:-5], 7, 10), (text, 8, 10), (text, 7, 9), ("[]", 7, 10)):
        with pytest.raises(TrainingError, match="file is damaged: remove it"):
            loads(damaged, cache, size, "file")


class TestSources:
    @pytest.mark.parametrize("database", ["database", "gallery"])
    def test_a_tree_with_its_two_distances_and_its_notes(self, tmp_path: Path, database: str):
        source = open_vpr_source(DataSpec("tree", write_tree(tmp_path / "tree", 3, database)), default_settings())
        assert (len(source), len(source.shots), source.queries[0]) == (6, 12, 6)
        names = [source.shots[row].name.split("@")[1] for row in source.positives[0]]
        assert names == ["0.0", "5.0"] and source.shots[6].condition == "" and source.shots[7].condition == "night"
        assert source.may_be_negative(0, source.database).tolist() == [2, 3, 4, 5]
        strict = settings_of(**{"truth.train_positives_m": 2.5})
        narrow = open_vpr_source(DataSpec("tree", tmp_path / "tree"), strict)
        assert [rows.tolist() for rows in narrow.positives[:2]] == [[0], [0]]
        assert narrow.may_be_negative(0, narrow.database).tolist() == [2, 3, 4, 5]  # what is 3 m away is neither
        held_out = open_vpr_source(DataSpec("tree", tmp_path / "tree"), strict, held_out=True)
        assert held_out.positives[0].tolist() == [0, 1]

    def test_a_tree_without_a_database_says_so(self, tmp_path: Path):
        write_tree(tmp_path / "tree", 2, "pictures")
        with pytest.raises(DataError, match="must hold queries and one of database and gallery"):
            open_vpr_source(DataSpec("tree", tmp_path / "tree"), default_settings())

    def test_places_are_looked_for_across_conditions(self):
        source = of_places(MadeUpPlaces(0, 4), "made")  # three views each; the last two places are near each other
        assert len(source) == len(source.shots) == 12
        assert source.positives[4].tolist() == [3, 5] and source.near[4].tolist() == [3, 4, 5]
        assert source.may_be_negative(7, source.database).tolist() == [0, 1, 2, 3, 4, 5]
        assert [shot.condition for shot in source.shots[:3]] == ["day", "dusk", "night"]

    def test_photos_are_their_own_positives_and_never_held_out(self, tmp_path: Path):
        spec = DataSpec("homography", write_places(tmp_path / "photos", 3))
        source = open_vpr_source(spec, default_settings())
        assert source.flat and [rows.tolist() for rows in source.positives] == [[0], [1], [2]]
        assert len(source.may_be_negative(0, source.database)) == 0
        with pytest.raises(ConfigError, match="cannot be held out"):
            open_vpr_source(spec, default_settings(), held_out=True)

    def test_the_next_frames_of_an_aligned_route_are_no_negatives(self, tmp_path: Path):
        a, b = (write_places(tmp_path / name, 6) for name in "ab")
        source = open_vpr_source(DataSpec("aligned", Path(f"{a},{b}")), default_settings())
        assert source.positives[2].tolist() == [2] and source.may_be_negative(2, source.database).tolist() == [5]

    def test_fixed_cameras_are_told_from_each_other(self, tmp_path: Path):
        for camera in "ab":
            write_places(tmp_path / "cameras" / camera, 3)
        source = open_vpr_source(DataSpec("static", tmp_path / "cameras"), settings_of(**{"static.held_out": "b"}))
        assert len(source) == 3 and source.positives[0].tolist() == [1, 2] and source.near[0].tolist() == [0, 1, 2]
        held_out = open_vpr_source(DataSpec("static", tmp_path / "cameras"), settings_of(**{"static.held_out": "b"}), True)
        assert held_out.shots[0].name == "static:b #0"

    @pytest.mark.parametrize(("spec", "words"), [("aligned:a", "two traverses"), ("recording:a,b,c", "one recording, or two")])
    def test_paths_that_make_no_sense(self, spec: str, words: str):
        with pytest.raises(ConfigError, match=words):
            open_vpr_source(DataSpec(spec.split(":")[0], Path(spec.split(":")[1])), default_settings())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mining.cache_refresh_rate": 5}, "no multiple of training.batch, 2: take 6"),
        ({"training.samples": 9}, "take 12, or mining.cache_refresh_rate=8"),
        ({"truth.train_positives_m": 30.0}, "both positive and negative"),
    ],
)
def test_caches_are_whole_batches_and_epochs_whole_caches(changes, words):
    with pytest.raises(ConfigError, match=words):
        require_whole(settings_of(**changes))


def test_settings_are_as_published():
    settings = default_settings()
    loop, mining, objective = settings.training, settings.mining, settings.objective
    assert (loop.batch, loop.epochs, loop.patience, loop.samples, loop.learning_rate) == (4, 1000, 3, 5000, 1e-5)
    assert (loop.optimizer.value, mining.mining, mining.cache_refresh_rate) == ("adam", Mining.PARTIAL, 1000)
    assert (mining.negs_num_per_query, mining.neg_samples_num) == (2, 1000)
    assert (objective.margin, objective.rei_weight, objective.rei_threshold_px) == (0.1, 100.0, 24.0)
    assert (settings.truth.train_positives_m, settings.truth.negatives_m) == (10.0, 25.0)
    assert (settings.validation.num_reranked_preds, settings.validation.inlier_px) == (32, 48.0)
