"""How the pictures look, and their bytes: light, colour-blind safe, the same for the same runs."""

import dataclasses
import io
import itertools
import math
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours without yellow, which is too light for lines on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

BAND = 0.1  # opacity: many of them overlap
WIDTH, HEIGHT = 13.5, 3.6  # inches: of a figure, as wide as the page; of a panel
MAX_COLUMNS = 3

RC = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "path.simplify": False,
    "text.parse_math": False,  # a "$" in a label is a "$"
}


@dataclasses.dataclass(frozen=True)
class Look:
    """How a method is drawn, in every picture."""

    colour: str
    marker: str
    line: str | tuple

    def line_style(self) -> dict:
        """Arguments of `Axes.plot` and `errorbar`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}


def in_legend(label: str) -> str:
    """The label as matplotlib shows it: one that begins with "_" would be in no legend."""
    return f" {label}" if label.startswith("_") else label


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the report, or the reason why it is not there.

    Attributes:
        name: of its files, without suffix.
        title: its heading.
        caption: what it shows, in sentences.
        figure: None: the runs do not support it.
        reason: then why, in one sentence.
    """

    name: str
    title: str
    caption: str = ""
    figure: Figure | None = None
    reason: str = ""


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """A look for each method; 7 colours, 11 markers and 5 lines repeat together after 385."""
    cycles = zip(
        itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), itertools.cycle(_LINES), strict=False
    )
    return {label: Look(*look) for label, look in zip(labels, cycles, strict=False)}


def panels(
    count: int, height: float = HEIGHT, most: int = MAX_COLUMNS, **kwargs
) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width: `count` panels of `height` inches in rows of at most `most`."""
    columns = columns_for(count, most)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs).flatten().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    for panel in axes:  # also where an axis is shared
        panel.tick_params(labelleft=True, labelbottom=True)
    return figure, axes[:count]


def columns_for(count: int, most: int = MAX_COLUMNS) -> int:
    """Columns for `count` panels: as few rows as `most` allows, filled evenly."""
    return math.ceil(count / math.ceil(count / most))


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all of `axes`, under them, each label once."""
    handles: dict = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    longest = max(map(len, handles), default=1)
    columns = max(1, int(figure.get_figwidth() * 12 / (longest + 10)))
    columns = min(columns, len(handles))
    height = 0.2 * math.ceil(len(handles) / columns) + 0.1
    figure.set_figheight(figure.get_figheight() + height)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)


def log_count_axis(axes: Axes, low: float, high: float) -> None:
    """A log x axis over counts, at least two decades long, so that near counts look near."""
    centre, half = math.log10(low * high) / 2, max(math.log10(high / low) / 2 * 1.25, 1)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (centre - half), 10 ** (centre + half))
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def short_count(value: float) -> str:
    """1,000 -> "1K", 220,000,000 -> "220M"."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def render(picture: Picture) -> tuple[bytes, bytes]:
    """The SVG and PNG of a picture's figure, without dates or names of programs.

    The ids in the SVG begin with the picture's name, so that several fit into one page.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({**RC, "svg.hashsalt": picture.name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        picture.figure.savefig(svg, format="svg", metadata=nothing)
        picture.figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    text = svg.getvalue().decode("utf-8")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{picture.name}-", text)
    return text.encode("utf-8"), png.getvalue()
