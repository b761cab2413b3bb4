"""The checks that need no camera: installation, configuration, map and disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vloc_ros.diagnosis.disk import check_disk
from vloc_ros.diagnosis.finding import Check, Finding, error, fine
from vloc_ros.diagnosis.packages import PACKAGES, check_package
from vloc_ros.errors import VlocError
from vloc_ros.features import chosen, create_extractor
from vloc_ros.mapping import MapStore
from vloc_ros.retrieval.automatic import automatic_name
from vloc_ros.settings import Settings

_HIGHEST_DOMAIN = 232
_REACHES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


def examine_machine(settings: Settings, map_path: Path | None, environment: Mapping[str, str]) -> list[Finding]:
    """All of them; some seconds, most of which the imports in child processes take."""
    found = [check_package(package) for package in PACKAGES]
    found.append(check_variables(environment))
    if map_path is None:
        return [*found, check_features(settings)]
    return [*found, *check_map(map_path, settings), check_disk(map_path)]


def check_map(path: Path, settings: Settings) -> list[Finding]:
    """Whether a map can be opened, and its features computed; one that does not exist is to be taught yet."""
    path = path.expanduser()
    if not path.exists():
        if not path.parent.is_dir():
            return [error(Check.MAP, f"the folder {path.parent} of the map does not exist", "make it, or correct --map")]
        return [fine(Check.MAP, f"there is no map at {path} yet"), check_features(settings)]
    try:
        with MapStore.open(path, read_only=True) as store:
            what = f"{len(store.keyframes())} keyframes, of which {automatic_name(store)} finds those alike"
            return [fine(Check.MAP, f"the map {path} opens: {what}"), check_features(settings, store)]
    except VlocError as problem:
        return [_refusal(Check.MAP, problem, "`vloc map check` tells more")]


def check_features(settings: Settings, store: MapStore | None = None) -> Finding:
    """Whether the local features that the configuration asks for can be computed here, and are those of the map."""
    asked, features = settings.features.name, settings.features
    try:
        name = chosen(asked, None if store is None else store.feature_name)
        extractor = create_extractor(name, features.max_features, features.learned)
        if store is not None:
            store.require_compatible(store.camera, extractor.fingerprint)
    except VlocError as problem:
        return _refusal(Check.FEATURES, problem, "`vloc config` says what features.name can be")
    stands_for = f", which {asked} stands for," if asked != name else ""
    return fine(Check.FEATURES, f"local features {extractor.name}{stands_for} can be computed")


def _refusal(check: Check, problem: VlocError, otherwise: str) -> Finding:
    """The sentence of an exception, parted where its advice begins."""
    sentence, _, remedy = str(problem).partition("; ")
    if not remedy:
        sentence, _, remedy = str(problem).rpartition(": ")
    return error(check, sentence or str(problem), remedy if sentence else otherwise)


def check_variables(environment: Mapping[str, str]) -> Finding:
    """Whether the variables that choose the ROS domain hold values that ROS understands."""
    domain = environment.get("ROS_DOMAIN_ID", "")
    if domain and not (domain.isdecimal() and int(domain) <= _HIGHEST_DOMAIN):
        return error(
            Check.DOMAIN, f"ROS_DOMAIN_ID is '{domain}'", f"set it to a number from 0 to {_HIGHEST_DOMAIN}, best below 102"
        )
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach and reach.upper() not in _REACHES:
        return error(Check.DOMAIN, f"ROS_AUTOMATIC_DISCOVERY_RANGE is '{reach}'", f"set it to one of {', '.join(_REACHES)}")
    return fine(Check.DOMAIN, f"ROS_DOMAIN_ID is {domain or '0 (not set)'}, ROS_AUTOMATIC_DISCOVERY_RANGE {reach or 'not set'}")
