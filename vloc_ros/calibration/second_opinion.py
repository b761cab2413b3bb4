"""A drive of which a promoted model joins nothing to the map: the model before is asked whether it would have.

Where no loop of a session was found nobody knows where it lies, so none is to be expected, and counting says nothing of a model
that is blind. On new ground no model finds anything; where the one before finds several loops that geometry verifies, and the new
one none, the new one is worse: five of five are by chance once in 32 times (sign test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vloc_ros.calibration.layout import Layout
from vloc_ros.config import param
from vloc_ros.features import MatchSettings
from vloc_ros.geometry.pnp import PnpSettings
from vloc_ros.loop_closure.verifier import LoopVerifier, VerificationSettings
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import name_of
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.searches import Search
from vloc_ros.mapping.store import MapStore
from vloc_ros.retrieval.of_map import MapDescriptor


@dataclass(frozen=True)
class SecondOpinionSettings:
    """When the model before is asked, and what it must find."""

    after: int = param(30, "searches of a session without one loop, after which the model before is asked", min=2, max=1000000)
    keyframes: int = param(20, "of that session, evenly chosen, that it is asked about", min=1, max=1000)
    at_once: int = param(4, "of these at one look, as each takes the time of some verifications", min=1, max=1000)
    missed: int = param(5, "loops that only the model before finds, at which it takes over again", min=1, max=1000)


def unjoined_session(layout: Layout, searches: Sequence[Search], after: int) -> int | None:
    """The newest session with so many searches and no verified loop, which nothing joins to an older one; None without one.

    Args:
        layout: of the map.
        searches: of the new model, since it is in use.
        after: the number of searches.
    """
    sessions = np.array([id.session for id in layout.ids])
    for session in sorted({search.keyframe.session for search in searches}, reverse=True):
        of_session = [search for search in searches if search.keyframe.session == session]
        older = layout.component[sessions < session]
        joined = np.isin(layout.component[sessions == session], older).any()
        if len(older) and not joined and len(of_session) >= after and not any(search.verified for search in of_session):
            return session
    return None


class SecondOpinion:
    """What the model before finds in a session that the new one did not join to the map, some keyframes at a time.

    Attributes:
        session: it.
        asked: keyframes that the model before was asked about so far.
        found: those of them with a loop that geometry verifies.
    """

    def __init__(
        self, store: MapStore, before: int, session: int, searched: Sequence[KeyframeId], settings: SecondOpinionSettings
    ) -> None:
        """Nobody is asked yet.

        Args:
            store: the map; it is not changed.
            before: number of the model before.
            session: number.
            searched: its keyframes for which the new model found nothing.
            settings: see there.

        Raises:
            MapError: the map is damaged.
            ConfigError: the model before cannot run.
        """
        self.session, self.asked, self.found = session, 0, 0
        self._store, self._settings = store, settings
        count = min(settings.keyframes, len(searched))
        self._waiting = [searched[k * len(searched) // count] for k in range(count)]
        self._verification = VerificationSettings()
        registrar = Registrar(store.camera, None, MatchSettings(), PnpSettings())
        self._verifier = LoopVerifier(store, registrar, self._verification)
        self._describer = MapDescriptor.of(store, name_of(before))
        self._index = self._describer.index(store, [k.id for k in store.keyframes() if k.id.session < session])

    def ask(self) -> None:
        """Ask about some more.

        Raises:
            MapError: the map is damaged.
        """
        some, self._waiting = self._waiting[: self._settings.at_once], self._waiting[self._settings.at_once :]
        for id in some:
            similar = self._index.search(self._describer.vector(self._store, id), self._verification.attempts)
            self.found += self._verifier.first_verified(id, similar).candidate is not None
            self.asked += 1

    @property
    def done(self) -> bool:
        """Whether nothing is left to be asked."""
        return not self._waiting

    @property
    def decided(self) -> bool:
        """Whether the model before is better."""
        return self.found >= self._settings.missed

    def __str__(self) -> str:
        return (
            f"it finds no loop in session s{self.session}, in which the model before finds {self.found} at the {self.asked} "
            "keyframes that it was asked about"
        )

    def to_dict(self) -> dict[str, int]:
        """Figures for the switch back."""
        return {"session": self.session, "asked": self.asked, "found_by_the_model_before": self.found}
