"""Puts words into a chart where nothing else is drawn.

Matplotlib places a text where it is told to; here each text has several places it could stand, and gets the one
that covers least of the lines and no other text. Not here: what the words say (`charts`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

GAP = 5.0  # pixels kept free around a text
_DENSITY = 3.0  # pixels between the points that stand for a line


@dataclass(frozen=True)
class Place:
    """A point of the axes (0 … 1 across and up) and which side of the text touches it."""

    x: float
    y: float
    ha: str = "left"
    va: str = "bottom"


@dataclass
class Labeller:
    """Places texts one after the other in one axes whose limits and size are final."""

    axes: Axes
    taken: list[Bbox] = field(default_factory=list)
    ink: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))

    def avoid_line(self, x: Any, y: Any) -> None:
        """Keep texts off this line, given in data units."""
        points = self.axes.transData.transform(np.column_stack([np.asarray(x, float), np.asarray(y, float)]))
        self.ink = np.concatenate([self.ink, dense(points)])

    def put(self, text: str, places: Sequence[Place], **style: Any) -> Text:
        """Draw `text` at the best of `places` (the first of equals) and keep later texts off it."""
        under = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.5}  # over grid lines and shades
        artist = self.axes.text(0, 0, text, transform=self.axes.transAxes, bbox=under, zorder=5, **style)
        best = min(places, key=lambda place: self._cost(artist, place))
        _move(artist, best)
        self.taken.append(_box(artist))
        return artist

    def _cost(self, artist: Text, place: Place) -> float:
        """Pixels of lines covered; texts covered and parts outside weigh far more."""
        _move(artist, place)
        box = _box(artist)
        inside = (self.ink >= box.min).all(axis=1) & (self.ink <= box.max).all(axis=1)
        frame = self.axes.get_window_extent()
        outside = max(0.0, frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1)
        overlap = sum(box.overlaps(other) for other in self.taken)
        return float(inside.sum()) + 1000.0 * outside + 10_000.0 * overlap


def settle(figure: Figure) -> None:
    """Fix the layout, so that pixels can be counted, and let the title begin where the axes do.

    Limits must be final; texts of the figure itself are its title.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for title in figure.texts:
        title.set_x(figure.axes[0].get_position().x0)


def dense(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in pixels [N, 2] with more put between them, so that no stretch of the line is without one."""
    if len(points) < 2:
        return points
    pieces = [points[-1:]]
    for start, end in itertools.pairwise(points):
        count = min(2000, 1 + int(np.hypot(*(end - start)) / _DENSITY))
        pieces.append(start + (end - start) * np.linspace(0, 1, count, endpoint=False)[:, None])
    return np.concatenate(pieces)


def _move(artist: Text, place: Place) -> None:
    artist.set_position((place.x, place.y))
    artist.set_horizontalalignment(place.ha)  # pyright: ignore[reportArgumentType]
    artist.set_verticalalignment(place.va)  # pyright: ignore[reportArgumentType]


def _box(artist: Text) -> Bbox:
    """The text's rectangle in pixels, with a gap around it."""
    canvas = artist.get_figure(root=True).canvas  # pyright: ignore[reportOptionalMemberAccess]
    assert isinstance(canvas, FigureCanvasAgg)
    return artist.get_window_extent(canvas.get_renderer()).padded(GAP)
