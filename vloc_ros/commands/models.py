"""``vloc models``: the versions of a map's own model, and which of them is in use."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.errors import MapError

if TYPE_CHECKING:
    from vloc_ros.mapping import KeyframeId, MapStore
    from vloc_ros.mapping.model_versions import ModelVersion, Switch

_LIST = """
  vloc models list --map site.vloc"""
_SHOW = """
  vloc models show 2 --map site.vloc"""
_PROMOTE = """
  vloc models promote 2 --map site.vloc            describe all keyframes with site-2, then use it; go on after an interruption
  vloc models promote 2 --map site.vloc --leave    only ask for it: place_recognition, which has the map open, does the rest
  vloc models promote 0 --map site.vloc            use none of them, as before the first"""
_ROLLBACK = """
  vloc models rollback --map site.vloc             back to the one before; a promotion that is not finished is called off"""
_EXPORT = """
  vloc models export 2 --map site.vloc --out models/site.safetensors"""
_IMPORT = """
  vloc models import models/places.safetensors --map site.vloc"""
_EXAMPLES = _LIST + _SHOW + _PROMOTE + _ROLLBACK + _EXPORT + _IMPORT


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "models", "the place recognition models that a map has of its own", _EXAMPLES, None)
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|promote|rollback|export|import")
    listed = add_command(actions, "list", "versions, and which is in use", _LIST, _list)
    show = add_command(actions, "show", "card, promotion test and switches of a version", _SHOW, _show)
    promote = add_command(actions, "promote", "describe the keyframes with a version, and use it", _PROMOTE, _promote)
    rollback = add_command(actions, "rollback", "go back to the version before", _ROLLBACK, _rollback)
    export = add_command(actions, "export", "write the weights of a version with their card", _EXPORT, _export)
    what = "add a file of weights as a version; it is not used before it is promoted"
    imported = add_command(actions, "import", what, _IMPORT, _import)
    for sub in (show, promote, export):
        sub.add_argument("number", type=int, metavar="N", help="number of the version")
    imported.add_argument("file", type=Path, metavar="FILE", help="*.safetensors, its card beside it")
    for sub in (listed, show, promote, rollback, export, imported):
        sub.add_argument("--map", type=Path, required=True, help="map file, *.vloc")
        add_json(sub)
    for sub in (promote, rollback):
        sub.add_argument("--leave", action="store_true", help="only ask; who searches the map (place_recognition) does the rest")
    export.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; the card is put beside it")


def _list(args: argparse.Namespace) -> int:
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_state import model_state
    from vloc_ros.mapping.model_versions import versions

    with MapStore.open(args.map, read_only=True) as store, store.database.snapshot():
        state, known = model_state(store), versions(store)
    lines = [("map", f"{args.map}: {state}")]
    for version in known:
        marks = " (in use)" if version.number == state.in_use else " (asked for)" if version.number == state.pending else ""
        lines.append((version.name + marks, _in_short(version)))
    emit(args, {"map": str(args.map), **asdict(state), "versions": [asdict(version) for version in known]}, rows(lines))
    return 0


def _show(args: argparse.Namespace) -> int:
    import json

    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import switches, version, weights_of

    with MapStore.open(args.map, read_only=True) as store, store.database.snapshot():
        shown, size = version(store, args.number), len(weights_of(store, args.number))
        changes = [switch for switch in switches(store) if switch.version == args.number]
    lines = [("version", f"{shown.name}, made {_time(shown.created_ns)}"), ("weights", f"{size / 1e6:.1f} MB")]
    lines += [(name.replace("_", " "), str(value)) for name, value in asdict(shown.card).items() if value != "" and name != "name"]
    lines.append(("promotion test", _outcome(shown.decision)))
    if shown.probability is not None:
        lines.append(("probability", json.dumps(shown.probability)))
    lines += [(f"switch {switch.number}", _in_words(switch)) for switch in changes]
    values = {**asdict(shown), "weights_bytes": size, "switches": [_plain(switch) for switch in changes]}
    emit(args, values, rows(lines))
    return 0


def _promote(args: argparse.Namespace) -> int:
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import SwitchReason, ask_switch, number_in_use, pending_switch

    with MapStore.open(args.map) as store:
        if pending_switch(store) is None and number_in_use(store) == args.number:
            return _tell(args, store, None)
        return _tell(args, store, ask_switch(store, args.number, SwitchReason.ASKED))


def _rollback(args: argparse.Namespace) -> int:
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import SwitchReason, ask_switch, number_before, number_in_use, pending_switch

    with MapStore.open(args.map) as store:
        pending = pending_switch(store)
        if pending is not None and pending.reason is SwitchReason.ROLLED_BACK:
            return _tell(args, store, pending)  # one that was interrupted
        number = number_before(store) if pending is None else number_in_use(store)
        if number is None:
            raise MapError(f"the map {args.map} has no version to go back to: it uses none of its own models")
        return _tell(args, store, ask_switch(store, number, SwitchReason.ROLLED_BACK, {"by": "hand"}))


def _tell(args: argparse.Namespace, store: MapStore, switch: Switch | None) -> int:
    """End a switch unless it is left to others, and say where the map stands."""
    from vloc_ros.mapping.model_state import model_state
    from vloc_ros.retrieval.switching import end_switch

    done = True
    if switch is not None:
        done = not args.leave and end_switch(store, switch, _with_bar)
    state = model_state(store)
    if switch is not None and not done and not args.leave:
        raise MapError(f"somebody asked the map {args.map} for another model meanwhile; it has {state}")
    emit(args, {"map": str(args.map), "done": done, **asdict(state)}, f"{args.map} has models: {state}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from vloc_ros.data.weights import save_weights, tensors_of_bytes
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import version, weights_of

    with MapStore.open(args.map, read_only=True) as store, store.database.snapshot():
        found, weights = version(store, args.number), weights_of(store, args.number)
    card = replace(found.card, name=args.out.stem)
    save_weights(args.out, tensors_of_bytes(weights, f"the model version {args.number}"), card)
    emit(args, {"file": str(args.out), **asdict(card)}, f"wrote {found.name} to {args.out}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from vloc_ros.data.weights import load_card
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.model_versions import add_version, versions
    from vloc_ros.retrieval.weights_file import load_descriptor

    card = load_card(args.file)
    load_descriptor(args.file)  # refuses what could never be used
    with MapStore.open(args.map) as store:
        known = versions(store)
        parent = next((version.number for version in known if version.card.sha256 == card.parent), None)
        notes = "; ".join(text for text in (card.notes, f"imported from {args.file.name}") if text)
        added = add_version(store, args.file.read_bytes(), replace(card, notes=notes), parent=parent)
    new = added.number not in {version.number for version in known}
    text = f"{added.name} {'is new' if new else 'has these weights already'}: {_in_short(added)}"
    emit(args, {"new": new, **asdict(added)}, text)
    return 0


def _in_short(version: ModelVersion) -> str:
    card = version.card
    parent = "" if version.parent is None else f", from site-{version.parent}"
    return (
        f"{card.network} on {card.backbone}, {card.dimension} elements{parent}, made {_time(version.created_ns)}; "
        f"promotion test: {_outcome(version.decision)}"
    )


def _outcome(decision: dict[str, Any] | None) -> str:
    from vloc_ros.calibration.promotion import Decision
    from vloc_ros.errors import DataError

    if decision is None:
        return "none"
    try:
        return str(Decision.from_dict(decision))
    except DataError:
        return f"of another release: {decision}"


def _in_words(switch: Switch) -> str:
    done = "not finished" if switch.finished_ns is None else f"in use from {_time(switch.finished_ns)}"
    figures = "".join(f", {name} {value}" for name, value in switch.figures.items())
    return f"asked for {_time(switch.asked_ns)}, as {switch.reason.value}{figures}; {done}"


def _plain(switch: Switch) -> dict[str, Any]:
    return asdict(switch) | {"reason": switch.reason.name}


def _time(stamp_ns: int) -> str:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _with_bar(keyframes: Sequence[KeyframeId]) -> Iterator[KeyframeId]:
    return progress(keyframes, len(keyframes), "describe", "keyframe")
