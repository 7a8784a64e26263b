"""The style of all figures: palette, axes, and atomic writes of PNG files."""

import os
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe palette; with the line styles, 32 tasks look different.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#7F7F7F")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
INK = "#333333"
PALE = "#BBBBBB"


def style_axes(panel: Axes, grid: Literal["x", "y"] = "y") -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(colors=INK)
    panel.grid(axis=grid, color=PALE, linewidth=0.5, alpha=0.6)
    panel.set_axisbelow(True)


def save_figure(figure: Figure, path: str) -> None:
    """Writes a PNG; the file gets its name when it is complete."""
    FigureCanvasAgg(figure)
    unfinished = f"{path}.part"
    figure.savefig(unfinished, format="png", dpi=150)
    os.replace(unfinished, path)
