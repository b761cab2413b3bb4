"""What the place_recognition node does between its topics: finds the loops that new keyframes close. Imports no ROS."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, MapError, VlocError
from vloc_ros.loop_closure import Detection, LoopDetector
from vloc_ros.loop_closure.claims import ClaimBook, JudgedClaims, labels_of
from vloc_ros.loop_closure.model_swap import ModelSwap, SwapState
from vloc_ros.loop_closure.search import detector_for
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import Keyframe, KeyframeId, MapStore
from vloc_ros.mapping.closures import closures_of, graph_revision
from vloc_ros.mapping.model_versions import versions
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.searches import searched_keyframes
from vloc_ros.pose_graph import Label
from vloc_ros.retrieval.automatic import PLACE
from vloc_ros.retrieval.conditions import require_known
from vloc_ros.retrieval.stages import Stages, StagesOfMap
from vloc_ros.ros.place_recognition_settings import RecognitionNodeSettings
from vloc_ros.ros.statistics import Statistics


class Recognizer:
    """Keyframes of a map by name in, loop closures to be judged out; belongs to one thread, as the map does.

    The map is opened with the first keyframe, as teaching makes it only when the camera is known. Keyframes that it held before,
    and that nobody has searched for yet, are searched for first: what was missed while the node was down is made up for.

    Where the map asks for another version of the model, :meth:`follow` describes the keyframes with it between searches and swaps.
    """

    def __init__(self, settings: RecognitionNodeSettings) -> None:
        """Check what can be checked before there is a map.

        Raises:
            ConfigError: no map is named, or a stage after the search is unknown or cannot be computed here.
            WeightsError: the file of weights of a stage is missing, damaged or of another network.
        """
        if not settings.map:
            raise ConfigError("no map is named; set the parameter 'map', for example map:=site.vloc")
        self._settings = settings
        self._stages = Stages.chosen(settings.loops)
        self._path = Path(settings.map).expanduser()
        self._waiting: deque[KeyframeId] = deque()
        self._announced: set[KeyframeId] = set()
        self._tries: Counter[KeyframeId] = Counter()
        self._store: MapStore | None = None
        self._detector: LoopDetector | None = None
        self._card: ModelCard | None = None
        self._swap = ModelSwap(settings.loops.descriptor, settings.redescribe_at_once)
        self._claims = ClaimBook()
        self._labels: tuple[int, dict[frozenset[KeyframeId], Label]] = (0, {})
        self.statistics = Statistics()
        self.counts: Counter[str] = Counter()
        """Keyframes searched for, candidates, and pairs refused or rejected, by reason."""
        self.left_out: Counter[str] = Counter()
        """Keyframes that were never searched for, by reason."""
        self.last: Detection | None = None
        """What came of the newest keyframe that resembled any other."""

    def tune(self, settings: RecognitionNodeSettings) -> None:
        """Take over the live ones of other settings, from the next keyframe on."""
        self._settings = settings
        if self._detector is not None and self._store is not None:
            registrar = Registrar(self._store.camera, None, settings.matching, settings.pnp)
            self._detector.tune(registrar, settings.loops)

    @property
    def waiting(self) -> int:
        """How many keyframes wait."""
        return len(self._waiting)

    @property
    def model(self) -> str:
        """Name and hash of the descriptor, empty before the search has begun."""
        return "" if self._card is None else f"{self._card.name} {self._card.sha256[:12]}".strip()

    @property
    def stages(self) -> StagesOfMap | None:
        """What orders the keyframes that a search finds; None without any, and before the search has begun."""
        return None if self._detector is None else self._detector.stages

    @property
    def condition(self) -> str:
        """By which condition the newest keyframe was described; empty where the descriptor knows none."""
        return "" if self._detector is None else self._detector.proposer.condition

    def take_stage_problem(self) -> str:
        """What was wrong with what the map holds for the stages since the last call; empty when nothing was."""
        return "" if self.stages is None else self.stages.take_problem()

    def require_known(self, condition: str) -> None:
        """Make sure that somebody knows a condition, where it is known already who is asked; any thread may ask.

        Raises:
            ConfigError: nobody does.
        """
        detector = self._detector
        if detector is not None:
            require_known(condition, detector.conditions, detector.models)

    @property
    def swap(self) -> SwapState:
        """How far the way to another version of the model is."""
        return self._swap.state

    @property
    def claims(self) -> JudgedClaims:
        """What the model said of its newest best matches, judged by the labels that are known, else by geometry."""
        return self._claims.judged(self._labels[1])

    def look_up_labels(self) -> None:
        """Read what the pose graph says by now.

        Raises:
            MapError: the map is damaged.
        """
        if self._store is None or graph_revision(self._store) == self._labels[0]:
            return
        with self._store.database.snapshot():
            self._labels = (graph_revision(self._store), labels_of(closures_of(self._store)))

    def follow(self) -> bool:
        """Take a step towards the model version that the map asks for, if it is another; True while there is more to do at once.

        To be called between keyframes. It raises nothing: what fails is said by :attr:`swap`, and the model goes on as it is.
        """
        if self._store is None or self._detector is None:
            return False
        swaps = self.swap.swaps
        more = self._swap.turn(self._store, self._detector)
        if self.swap.swaps != swaps:
            self._card = self._detector.card
            self._claims.clear()
        return more

    def announce(self, id: KeyframeId) -> None:
        """A keyframe was made."""
        if id in self._announced:
            return
        self._announced.add(id)
        self._waiting.append(id)
        if len(self._waiting) > self._settings.backlog:
            self._leave_out("backlog")

    def step(self) -> Detection | None:
        """Search for the keyframe that waits longest; None when there is none, or too few for a beginning.

        Raises:
            VlocError: it cannot be read, or its descriptor not be written; it stays the next, until it has been tried often enough.
                One that the map does not hold lets the others pass.
        """
        if not self._waiting:
            return None
        self._follow_file()
        detector = self._ready()
        if detector is None:
            return None
        self._let_known_pass()
        try:
            return self._search(detector)
        except VlocError:
            self._failed()
            raise

    def _follow_file(self) -> None:
        """Begin anew with the file that has the map's name now, when the one that is open was removed or replaced."""
        if self._store is None or self._store.in_place:
            return
        if not self._path.exists():
            raise MapError(f"the map {self._path} was removed; {self.waiting} keyframes wait until it is back")
        self.close()

    def _let_known_pass(self) -> None:
        """Whoever announces keyframes that do not exist holds nobody up."""
        assert self._store is not None
        unknown = self._waiting[0]
        for _ in range(len(self._waiting)):
            unknown = self._waiting[0]
            if self._store.holds(unknown):
                return
            if not self._failed():
                self._waiting.rotate(-1)
        raise MapError(f"the map {self._path} does not hold the keyframe {unknown}")

    def _failed(self) -> bool:
        """The keyframe at the front could not be searched for; whether it is given up."""
        self._tries[self._waiting[0]] += 1
        given_up = self._tries[self._waiting[0]] >= self._settings.attempts
        if given_up:
            self._leave_out("unreadable")
        return given_up

    def _leave_out(self, reason: str) -> None:
        """Give the keyframe at the front up; it may be announced again."""
        id = self._waiting.popleft()
        del self._tries[id]
        self._announced.discard(id)
        self.left_out[reason] += 1

    def _search(self, detector: LoopDetector) -> Detection:
        assert self._store is not None
        keyframe = self._store.keyframe(self._waiting[0])
        begun = time.perf_counter()
        detection = detector.process(keyframe)
        took = {"search": 1e3 * (time.perf_counter() - begun), "fine": detection.fine_ms, "rerank": detection.rerank_ms}
        self.statistics.processed({stage: taken for stage, taken in took.items() if taken is not None})
        del self._tries[self._waiting.popleft()]
        self._claims.add(detection)
        if detection.candidate is not None or detection.rejections:
            self.last = detection
        return detection

    def _ready(self) -> LoopDetector | None:
        """The detector, made when the map holds enough to begin with."""
        if self._detector is not None:
            return self._detector
        if self._store is None:
            self._store = MapStore.open(self._path)
        store, settings = self._store, self._settings
        keyframes = store.keyframes()
        if len(keyframes) < settings.begin_with:
            return None
        loops = LoopClosureSettings(loops=settings.loops, matching=settings.matching, pnp=settings.pnp)
        self._detector = detector_for(store, loops, live=True, stages=self._stages)
        self._card, self.counts = self._detector.card, self._detector.counts
        missed = [id for id in _never_searched(store, keyframes, self._detector) if id not in self._announced]
        self._waiting.extendleft(reversed(missed))
        self._announced.update(missed)
        return self._detector

    def close(self) -> None:
        """Close the map; what waits is searched for the next time.

        Raises:
            MapError: the last of the data cannot be written.
        """
        self._detector = None
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _never_searched(store: MapStore, keyframes: Sequence[Keyframe], detector: LoopDetector) -> list[KeyframeId]:
    """Keyframes that no search was kept of, and those that lack a descriptor of the model that searches.

    What older releases searched for is known only by its descriptors: those before the first search that was kept. Descriptors of
    model versions, and of ``place``, which those releases did not have, say nothing of it, as they are made without a search, too.
    """
    searched, described = searched_keyframes(store), set(detector.described)
    done = set(searched)
    if detector.card.name not in {PLACE, *(version.name for version in versions(store))}:
        first = min(searched, default=None)
        done |= {id for id in described if first is None or id < first}
    return [keyframe.id for keyframe in keyframes if keyframe.id not in done or keyframe.id not in described]
