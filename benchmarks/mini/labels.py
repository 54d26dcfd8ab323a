"""Labels next to lines and points that do not cover each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_SIZE = 8.5  # points
_APART = 11.0  # points between the middles of labels over each other
_GAP = 14.0  # points from a line's end to its label
Place = tuple[float, float, float, str]  # x, y, half of the error bar, in data; colour


def lay_out(figure: Figure) -> None:
    """Lays the figure out for good, so that places in data are places on the page.

    To be called when all is drawn, and before the labels, which would move the panels.
    """
    FigureCanvasAgg(figure)
    figure.canvas.draw()
    figure.set_layout_engine("none")


def at_ends(panel: Axes, ends: Mapping[str, Place]) -> None:
    """Writes each label to the right of its line's end, moved up or down to be apart.

    Args:
      panel: of a figure that is laid out.
      ends: label -> where its line ends.
    """
    points = 72 / panel.figure.dpi  # of a pixel
    order = sorted(ends, key=lambda label: ends[label][1])
    heights = [panel.transData.transform(ends[label][:2])[1] * points for label in order]
    limits = (panel.bbox.y0 * points, panel.bbox.y1 * points)
    for label, y, middle in zip(order, heights, apart(heights, *limits), strict=True):
        at, colour = ends[label][:2], ends[label][3]
        line = {**_line(colour), "relpos": (0, 0.5), "shrinkB": 2}
        look = {"color": colour, "fontsize": _SIZE, "va": "center", "arrowprops": line}
        panel.annotate(
            label, at, (_GAP, middle - y), textcoords="offset points", annotation_clip=False, **look
        )


def apart(middles: Sequence[float], low: float, high: float) -> list[float]:
    """Ascending middles, moved to be _APART from each other between `low` and `high`.

    Neighbours that touch are joined in a block, which stands where its members' mean is. Where
    there is too little room for all, they go on over `high`.
    """
    blocks: list[list[float]] = []

    def bottom(block: Sequence[float]) -> float:
        height = _APART * (len(block) - 1)
        wanted = sum(block) / len(block) - height / 2
        return max(low, min(wanted, high - height))

    for middle in middles:
        blocks.append([middle])
        while len(blocks) > 1:
            top = bottom(blocks[-2]) + _APART * (len(blocks[-2]) - 1)
            if bottom(blocks[-1]) - top >= _APART:
                break
            last = blocks.pop()
            blocks[-1] += last
    return [bottom(block) + _APART * i for block in blocks for i in range(len(block))]


def at_points(panel: Axes, points: Mapping[str, Place]) -> None:
    """Writes each label near its point: where it covers no label, point, bar, and crosses few.

    Args:
      panel: of a figure that is laid out.
      points: label -> its place.
    """
    renderer = panel.figure.canvas.get_renderer()
    pixels = panel.figure.dpi / 72  # of a point
    at = {label: panel.transData.transform(place[:2]) for label, place in points.items()}
    taken = [box for label in points for box in _of_point(panel, points[label], pixels)]
    for label in sorted(points, key=lambda label: -at[label][1]):
        x, y, _, colour = points[label]
        line = {**_line(colour), "shrinkB": 3}
        look = {"color": colour, "fontsize": _SIZE, "va": "center", "arrowprops": line}
        text = panel.annotate(label, (x, y), (0, 0), textcoords="offset points", **look)
        tried = []
        for number, (dx, dy, side) in enumerate(_offsets()):
            box = _move(text, renderer, dx, dy, side)
            cost = 3 * sum(box.overlaps(other) for other in taken)
            cost += _crossed(at[label], box, taken, pixels) + 9 * (not _inside(box, panel.bbox))
            tried.append((cost, number, (dx, dy, side)))
            if not cost:
                break
        *_, best = min(tried)
        taken.append(_move(text, renderer, *best))


def _of_point(panel: Axes, place: Place, pixels: float) -> list[Bbox]:
    """The boxes of a point's marker and bar, in pixels."""
    x, y, half, _ = place
    (left, low), (_, high) = panel.transData.transform([(x, y - half), (x, y + half)])
    middle, r, bar = panel.transData.transform((x, y))[1], 4 * pixels, 1.5 * pixels
    marker = Bbox.from_extents(left - r, middle - r, left + r, middle + r)
    return [marker, Bbox.from_extents(left - bar, low, left + bar, high)]


def _move(text: Text, renderer: RendererBase, dx: float, dy: float, side: str) -> Bbox:
    """Puts the text there; returns its box, without its line's."""
    text.set_ha(side)
    text.set_position((dx, dy))
    text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def _crossed(start: np.ndarray, box: Bbox, taken: Sequence[Bbox], pixels: float) -> int:
    """How many of `taken` the line from a point to its label crosses, but the point's own."""
    end = np.clip(start, (box.x0, box.y0), (box.x1, box.y1))
    steps = start + np.linspace(0, 1, 12)[:, None] * (end - start)
    steps = steps[np.linalg.norm(steps - start, axis=1) > 5 * pixels]
    return sum(any(other.contains(*step) for step in steps) for other in taken)


def _inside(box: Bbox, panel: Bbox) -> bool:
    return panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1


def _offsets() -> list[tuple[float, float, str]]:
    """Offsets from a point in points, the nearest first, with the side that the text begins at."""
    found = []
    for far in range(0, 110, 11):
        for dy in (far, -far) if far else (0,):
            for dx in (8, 26, 50):
                found += [(dx, dy, "left"), (-dx, dy, "right")]
    return sorted(found, key=lambda offset: abs(offset[0]) + 1.2 * abs(offset[1]))


def _line(colour: str) -> dict:
    return {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0}
