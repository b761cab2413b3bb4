"""Images of keyframes for a training: read from one map or several, at the size that networks see, the last ones kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.data.frame import Image
from vloc_ros.errors import MapError
from vloc_ros.mapping.images import keyframes_with_image
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.networks.preprocessing import INPUT_SIZE, resized

_BYTES = 1 << 20
CACHE_MB = 256
"""Room for about 1700 images in colour; reading one anew takes a few milliseconds."""


class KeyframeImages:
    """Reads the image of a keyframe, as :data:`vloc_ros.training.tuple_batch.ImageOf`."""

    def __init__(self, stores: Sequence[MapStore], cache_mb: int = CACHE_MB, size: int = INPUT_SIZE) -> None:
        """Sessions of later maps count on where those of the maps before end, so that all keyframes have names of their own.

        Args:
            stores: open maps.
            cache_mb: how much is kept [MiB].
            size: of the images that the network sees [px].
        """
        self._stores, self._room, self._image_size = tuple(stores), cache_mb * _BYTES, size
        self._kept: OrderedDict[KeyframeId, Image] = OrderedDict()
        self._size = 0
        self._first = [0]
        for store in self._stores:
            self._first.append(self._first[-1] + max((session.id for session in store.sessions()), default=0))

    def __call__(self, id: KeyframeId) -> Image:
        """The image, resized, which makes no difference to a network.

        Raises:
            MapError: there is no such keyframe, it has no image, or its image is damaged.
        """
        image = self._kept.pop(id, None)
        if image is None:
            image = self._read(id)
            self._size += image.nbytes
        self._kept[id] = image
        while self._size > self._room and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].nbytes
        return image

    def evenly(self, ids: Sequence[KeyframeId], count: int) -> list[Image]:
        """Images of so many of these keyframes, evenly chosen; of all where there are fewer.

        Raises:
            MapError: as a call.
        """
        count = min(count, len(ids))
        return [self(ids[k * len(ids) // count]) for k in range(count)]

    def named(self, map_number: int, id: KeyframeId) -> KeyframeId:
        """The name here of a keyframe of a map."""
        return KeyframeId(id.session + self._first[map_number], id.keyframe)

    def with_images(self, map_number: int, tuples: TupleSet) -> TupleSet:
        """Tuples of a map by the names here, without the keyframes that have no image."""
        usable = tuples.within(keyframes_with_image(self._stores[map_number]))

        def named(id: KeyframeId) -> KeyframeId:
            return self.named(map_number, id)

        return TupleSet(
            tuple(
                TrainingTuple(named(t.anchor), named(t.positive), tuple(map(named, t.negatives)), t.weight, t.graph_revision)
                for t in usable.tuples
            ),
            tuple(OutlierPair(named(p.query), named(p.negative), p.weight, p.graph_revision) for p in usable.pairs),
        )

    def _read(self, id: KeyframeId) -> Image:
        number = next((k for k in range(len(self._stores)) if self._first[k] < id.session <= self._first[k + 1]), None)
        if number is None:
            raise MapError(f"no map holds keyframe {id}")
        store, own = self._stores[number], KeyframeId(id.session - self._first[number], id.keyframe)
        image = store.image(own)
        if image is None:
            raise MapError(f"the map {store.path} has no image of keyframe {own}: teach with keyframes.image_quality above 0")
        return resized(image, self._image_size)
