"""One self-contained HTML page about a calibration: before and after, the numbers, and whether the new model takes over and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vloc_ros import __version__
from vloc_ros.calibration.promotion import Decision, Measure
from vloc_ros.evaluation import html
from vloc_ros.evaluation.confidence_metrics import BINS, auroc, summarise_confidence
from vloc_ros.evaluation.model_evidence import ModelEvidence
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.report_style import CSS
from vloc_ros.evaluation.retrieval_metrics import precision_recall, summarise

_RETRIEVAL = (
    ("recall_at_1", "Recall@1"),
    ("recall_at_5", "Recall@5"),
    ("recall_at_10", "Recall@10"),
    ("average_precision", "average precision of the best matches"),
    ("max_f1", "best F1 over thresholds"),
    ("recall_at_full_precision", "recall before the first wrong match"),
)
_CONFIDENCE = (
    ("ece", "calibration error (ECE), bins of equal width"),
    ("ece_equal_mass", "calibration error, bins of equal mass"),
    ("brier", "Brier score"),
    ("auroc", "AUROC, right from wrong matches"),
)


def evidence_numbers(model: ModelEvidence, threshold: float | None = None, bins: int = BINS) -> dict[str, Any]:
    """All numbers of one model, plain values; None where the data say nothing.

    Args:
        model: what was measured.
        threshold: similarity at which precision, recall and F1 are given as well.
        bins: of the calibration error.
    """
    curve, queries = precision_recall(model.answers), model.queries
    point = None if curve is None or threshold is None else curve.at(threshold)
    is_positive = queries.relevant[queries.allowed]
    return {
        "model": model.name,
        **summarise(model.answers).to_dict(),
        "threshold": threshold,
        "f1_at_threshold": None if point is None else point.f1,
        "separation_auroc": auroc(queries.similarity[queries.allowed], is_positive) if queries.finite else None,
        "confidence": {way: summarise_confidence(values, model.right, bins).to_dict() for way, values in model.usable.items()},
    }


def write_calibration_report(
    path: Path,
    title: str,
    before: ModelEvidence,
    after: ModelEvidence,
    decision: Decision,
    *,
    threshold: float | None = None,
    bins: int = BINS,
) -> None:
    """Write the page at ``path`` and, beside it with the suffix ``.json``, its numbers and the decision.

    Args:
        path: of the HTML file; its folder is created.
        title: heading of the page.
        before: the model in use, on the held-out queries.
        after: the new one, on the same.
        decision: of the promotion test.
        threshold: similarity from which matches are believed in use, if there is one.
        bins: of the calibration error and of the reliability diagrams.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(path.parent)
    models = (before, after)
    numbers = [evidence_numbers(model, threshold, bins) for model in models]
    values = {"title": title, "vloc_ros": __version__, "decision": decision.to_dict(), "models": numbers}
    write_whole(path.with_suffix(".json"), json.dumps(values, indent=2, allow_nan=False) + "\n")
    header = f"<h1>{escape(title)}</h1><p>{escape(before.name)} → {escape(after.name)} · vloc_ros {escape(__version__)}</p>"
    body = [verdict_section(decision), _table(numbers, bins), *_figures(models, bins)]
    write_whole(path, html.page(title, CSS, header, "\n".join(body)))


def verdict_section(decision: Decision) -> str:
    """The outcome of a promotion test with its figures and reasons, as a part of a page."""
    head = f"{decision.after} takes over" if decision.promote else f"{decision.before} stays"
    name = decision.measure.value.replace("_", " ")
    sure = f"{100.0 * (1.0 - decision.level):g} %"
    cards = [
        html.card("decision", "promoted" if decision.promote else "not promoted", bad=not decision.promote),
        html.card(f"gain in {name}", _signed(decision.gain), detail="mean over held-out queries"),
        html.card("at least", _signed(decision.lower), detail=f"lower bound, {sure} one-sided"),
        html.card("p", html.number(decision.p_value), detail="of the hypothesis of no gain"),
    ]
    reasons = "".join(f"<li>{escape(reason.value)}</li>" for reason in decision.reasons)
    why = f'<div class="notice">Why not:<ul>{reasons}</ul></div>' if reasons else ""
    rows = [(measure.value.replace("_", " ") + " per query", getattr(decision, measure.value)) for measure in Measure]
    rows += [
        ("calibration error (ECE)", decision.ece),
        ("variance of the descriptors", decision.spread),
        ("effective dimension of the descriptors", decision.dimension),
    ]
    table = _compared("What the test looked at", [(text, pair.before, pair.after) for text, pair in rows])
    about = (
        f"{decision.queries} held-out queries with a known place from {decision.stretches} stretches of the route, which were "
        f"resampled as wholes (seed {decision.seed}); test number {decision.attempt} on these places."
    )
    return (
        f'<section class="first"><h2>{escape(head)}</h2><p class="about">{about}</p>'
        f'<div class="cards">{"".join(cards)}</div>{why}{table}</section>'
    )


def _table(numbers: Sequence[dict[str, Any]], bins: int) -> str:
    first, second = numbers
    rows = [(text, first[key], second[key]) for key, text in _RETRIEVAL]
    if first["threshold"] is not None:
        rows.append((f"F1 at similarity {first['threshold']:g}", first["f1_at_threshold"], second["f1_at_threshold"]))
    rows.append(("AUROC, pairs of one place from pairs of two", first["separation_auroc"], second["separation_auroc"]))
    parts = [_compared("All held-out queries", rows)]
    for way in dict.fromkeys([*first["confidence"], *second["confidence"]]):
        found = [values["confidence"].get(way, {}) for values in numbers]
        parts.append(_compared(f"Confidence: {way}", [(text, found[0].get(key), found[1].get(key)) for key, text in _CONFIDENCE]))
    unknown = f"{first['unknown']} of {first['queries']} queries have no place in the map; every match of theirs is wrong."
    note = f'<p class="about">{unknown} Calibration errors are over {bins} bins; empty ones do not count.</p>'
    return f"<section><h2>Before and after</h2>{''.join(parts)}{note}</section>"


def _compared(head: str, rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    cells = []
    for text, before, after in rows:
        change = None if before is None or after is None else after - before
        cells.append((escape(text), _fixed(before), _fixed(after), _signed(change)))
    return f"<h3>{escape(head)}</h3>" + html.table(("", "before", "after", "change"), cells, ("wide", "number", "number", "number"))


def _figures(models: Sequence[ModelEvidence], bins: int) -> Iterator[str]:
    # matplotlib takes a second to load
    from vloc_ros.evaluation import calibration_plots, plot_style

    matrix = "Good: bright where the right panel is dark, and dark elsewhere. Pairs that may not answer are grey."
    reliable = "On the dashed line a confidence means what it says; bars are 95 % Wilson intervals. Below: how many queries."
    with plot_style.style():
        pictures = (
            ("Similarity", calibration_plots.similarity_matrices(models), matrix),
            ("Separation", calibration_plots.separations(models), "The less the two overlap, the better."),
            ("Precision and recall", calibration_plots.precision_recall_curves(models), "The dots are the best F1."),
            ("Reliability", calibration_plots.reliability_diagrams(models, bins), reliable),
        )
        for title, made, caption in pictures:
            yield f"<section><h2>{title}</h2>{html.figure(plot_style.png_uri(made), title.lower(), caption)}</section>"


def _fixed(value: float | None) -> str:
    return html.UNKNOWN if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    # adding zero takes the sign from a zero
    return html.UNKNOWN if value is None else f"{round(value, 3) + 0.0:+.3f}"
