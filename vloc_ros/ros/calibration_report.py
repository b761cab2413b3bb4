"""What the diagnostics say of the calibration node. Imports no ROS."""

from __future__ import annotations

from typing import Any

from vloc_ros.calibration.supervisor import TrainerState
from vloc_ros.ros.calibration_keeper import CalibrationKeeper


def message(keeper: CalibrationKeeper) -> str:
    """What it is at, in a few words."""
    status = keeper.supervisor.status
    if status.state is TrainerState.IDLE:
        return status.state.value
    if status.state is TrainerState.PAUSED:
        return f"paused: {_held(keeper)}"
    return f"{status.stage} {status.share:.0%}" if status.stage else status.state.value


def report(keeper: CalibrationKeeper) -> dict[str, str]:
    """Keys and values: the trainer and its budget, the labels, the model, the last decision, the watch, the localisation."""
    return {**_trainer(keeper), **_labels(keeper), **_model(keeper), **_last(keeper.memory.last), **_localisation(keeper)}


def _held(keeper: CalibrationKeeper) -> str:
    status = keeper.supervisor.status
    reasons = [pause.value for pause in status.pauses]
    return "; ".join(reasons + ([] if status.restraint is None else [status.restraint.value]))


def _trainer(keeper: CalibrationKeeper) -> dict[str, str]:
    status, budget = keeper.supervisor.status, keeper.settings.supervisor.budget
    limit = f" of {budget.seconds_per_hour:g}" if budget.seconds_per_hour > 0.0 else ""
    values = {
        "state": status.state.value,
        "calibration": str(keeper.memory.job),
        "stage": status.stage,
        "progress": f"{status.share:.3f}",
        "paused_because": _held(keeper),
        "waits_because": keeper.why_not(),
        "trainer_pid": "" if status.pid is None else str(status.pid),
        "trainer_starts": str(status.starts),
        "trainer_deaths": str(status.deaths),
        "trainer_last_death": status.last_death,
        "trainer_unreadable_lines": str(status.unreadable),
        "budget_share": f"{budget.share:g}",
        "cpu_seconds": f"{status.cpu_seconds:.1f}",
        "cpu_seconds_last_hour": f"{status.cpu_last_hour:.1f}{limit}",
    }
    return values | {f"trainer_{key}": _short(value) for key, value in status.figures.items()}


def _labels(keeper: CalibrationKeeper) -> dict[str, str]:
    labels = keeper.labels
    return {
        "graph_revision": str(labels.revision),
        **{f"label_{name}": str(count) for name, count in sorted((labels.counts or {}).items())},
        "labels_new": str(keeper.news),
        "tuples": str(labels.tuples),
    }


def _model(keeper: CalibrationKeeper) -> dict[str, str]:
    model, watched = keeper.model, keeper.watched
    values = {"model_in_use": "", "model_asked_for": "", "promotion": keeper.promotion}
    if model is not None:
        values["model_in_use"] = f"{model.in_use.version} {model.in_use.sha256[:12]}".strip()
        if model.wanted != model.in_use:
            values["model_asked_for"] = f"{model.wanted.version or 'none'} {model.wanted.sha256[:12]}".strip()
            values["model_asked_because"] = model.reason
    if watched is not None:
        values["watch"] = f"version {watched.switch.version}: {watched.text}"
    return values


def _last(last: dict[str, Any]) -> dict[str, str]:
    if not last:
        return {"last_calibration": "none yet"}
    said = last.get("refusal") or last.get("text") or ("it won" if last.get("promote") else "it is not promoted")
    values = {"last_calibration": f"{last.get('job')}, {last.get('ending')}: {said}"}
    for name in ("version", "promote", "report", "promotion"):
        if last.get(name) not in (None, ""):
            values[f"last_{name}"] = _short(last[name])
    if last.get("reasons"):
        values["last_reasons"] = "; ".join(map(str, last["reasons"]))
    decision = last.get("decision") or {}
    for name in ("measure", "gain", "lower", "p_value", "queries", "stretches"):
        if decision.get(name) is not None:
            values[f"last_{name}"] = _short(decision[name])
    for name in ("average_precision", "recall_at_1", "ece"):
        compared = decision.get(name)
        if isinstance(compared, dict):
            values[f"last_{name}"] = f"{_short(compared.get('before'))} to {_short(compared.get('after'))}"
    return values


def _localisation(keeper: CalibrationKeeper) -> dict[str, str]:
    lateness = keeper.lateness
    values = {"localisation_late_messages": str(lateness.times_late)}
    if lateness.lag_s is not None:
        values["localisation_lag_ms"] = f"{1e3 * lateness.lag_s:.1f}"
    return values


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
