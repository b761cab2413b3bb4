"""A page of the loop closures of a map: numbers, the graph, and the image pairs with their matches, label and reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vloc_ros import __version__
from vloc_ros.evaluation import draw_matches, html, plot_style
from vloc_ros.evaluation.calibration_plots import reliability_diagram
from vloc_ros.evaluation.confidence_metrics import BINS
from vloc_ros.evaluation.output import write_whole
from vloc_ros.evaluation.pictures import jpeg_uri
from vloc_ros.evaluation.plot_style import png_uri
from vloc_ros.evaluation.report_style import CSS
from vloc_ros.loop_closure.claims import JudgedClaims
from vloc_ros.loop_closure.picture import LABEL_COLOURS
from vloc_ros.loop_closure.search import LoopRun
from vloc_ros.loop_closure.verifier import Candidate
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import Closure
from vloc_ros.pose_graph import Label

PAIRS_PER_LABEL = 8
_HEADINGS = {
    Label.OUTLIER: "Rejected by the graph",
    Label.UNDECIDED: "Undecided",
    Label.INLIER: "Believed",
}


def write_page(path: Path, title: str, run: LoopRun, store: MapStore, graph: Figure) -> None:
    """Write the page, which holds its style and images, runs no script and loads nothing.

    Of each label at most ``PAIRS_PER_LABEL`` pairs are shown, spread evenly over the closures.

    Raises:
        OutputError: it cannot be written.
        MapError: an image or features of the map are damaged.
    """
    parts = [_summary(run, graph), *_confidence(run.judged_claims), *_pairs(run, store)]
    header = f"<h1>{escape(title)}</h1><p>{len(run.keyframes)} keyframes · vloc_ros {escape(__version__)}</p>"
    write_whole(path, html.page(title, CSS, header, "\n".join(parts)))


def _summary(run: LoopRun, graph: Figure) -> str:
    labels = run.labels
    cards = [
        html.card("candidates", str(run.counts["candidates"]), detail=f"proposed by {run.descriptor}, verified by geometry"),
        *(html.card(label.value, str(labels.get(label.value, 0))) for label in Label),
    ]
    rejected = [(escape(reason.replace("_", " ")), str(count)) for reason, count in run.rejected.items()]
    table = html.table(("pairs that were not verified", ""), rejected, ("name", "number")) if rejected else ""
    return (
        f'<section class="first"><h2>Loop closures</h2><div class="cards">{"".join(cards)}</div>'
        f"{html.figure(png_uri(graph), 'the graph from above', 'Closures are joined by a line; green ones are believed.')}"
        f"{table}</section>"
    )


def _confidence(judged: JudgedClaims) -> Iterator[str]:
    """How far the claimed probabilities can be believed; nothing where the model claims none."""
    if not len(judged):
        return
    rows = []
    for way, summary in judged.summaries().items():
        numbers = (summary.ece, summary.brier, summary.auroc)
        rows.append((escape(way), *("" if value is None else f"{value:.3f}" for value in numbers)))
    with plot_style.style():
        picture = png_uri(reliability_diagram(judged.ways, judged.right, BINS))
    about = (
        f"The best match of {len(judged)} keyframes that geometry was asked about. Right is what the pose graph believes or, where "
        "it does not decide, what geometry verified; the probability was claimed before. On the diagonal it means what it says."
    )
    columns = ("confidence", f"calibration error, {BINS} bins", "Brier score", "AUROC")
    yield (
        f'<section><h2>How sure the model was</h2><p class="about">{about}</p>'
        f"{html.figure(picture, 'reliability diagram', 'Share of right matches over claimed confidence, with 95 % intervals.')}"
        f"{html.table(columns, rows, ('name', 'number', 'number', 'number'))}</section>"
    )


def _pairs(run: LoopRun, store: MapStore) -> Iterator[str]:
    for label, heading in _HEADINGS.items():
        closures = [closure for closure in run.judgement.closures if closure.verdict.label is label]
        shown = [closures[k] for k in _spread(len(closures))]
        if shown:
            figures = "".join(_pair(run, store, closure) for closure in shown)
            count = f"{len(shown)} of {len(closures)}"
            title = f'<h2>{html.chip(LABEL_COLOURS[label])}{heading}</h2><p class="about">{count}</p>'
            yield f"<section>{title}{_grid(figures)}</section>"


def _grid(figures: str) -> str:
    return f'<div class="matches">{figures}</div>'


def _pair(run: LoopRun, store: MapStore, closure: Closure) -> str:
    verdict, found = closure.verdict, run.candidate_of(closure)
    support = "" if found is None else f"{_claimed(found)}, {found.inliers} of {found.matches} matches agree; "
    caption = (
        f"{closure.b} above, {closure.a} below. {support}{verdict.label.value}: {verdict.reason.value} "
        f"(weight {verdict.weight:.2f}, chi-square {verdict.chi2:.1f})"
    )
    live, other = store.image(closure.b), store.image(closure.a)
    if live is None or other is None:
        return f"<p>{escape(caption)}; the map has no images of it.</p>"
    picture = draw_matches(live, other, run.verifier.match_view(closure.a, closure.b))
    return html.figure(jpeg_uri(picture), f"{closure.b} and {closure.a}", caption)


def _claimed(found: Candidate) -> str:
    likely = "" if found.probability is None else f", {100.0 * found.probability:.0f} % likely"
    return f"score {found.score:.3f}{likely}"


def _spread(count: int) -> Sequence[int]:
    chosen = np.unique(np.linspace(0, count - 1, min(count, PAIRS_PER_LABEL)).round().astype(int)) if count else np.zeros(0, int)
    return [int(k) for k in chosen]
