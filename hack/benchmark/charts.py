# SPDX-License-Identifier: Apache-2.0
"""The charts of one sweep, as PNG and SVG. Every point is a median, every bar around it the slowest and fastest
sample. Ways differ in marker, line and hatching as well as in colour, so that a grey print can be read."""

import textwrap
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import matplotlib
from results import FAILED, Row
from serve import MIB

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

PANEL = (4.6, 3.6)  # inches
SPEED, FILES = "throughput (GB/s)", "headers (files/s)"
LINK_STYLE = {"color": "0.35", "linewidth": 1.0, "linestyle": (0, (6, 3))}


class Look(NamedTuple):
    colour: str
    marker: str
    line: object  # as matplotlib names lines
    hatch: str


#: From dark to light, so that they differ in grey as well.
LOOKS = (
    Look("#0b3c5d", "o", "-", ""),
    Look("#b5491c", "s", (0, (4, 1)), "//"),
    Look("#2a8c82", "^", "-.", ".."),
    Look("#8a5fbf", "D", ":", "xx"),
    Look("#c98a00", "v", (0, (5, 1, 1, 1, 1, 1)), "\\\\"),
    Look("#5b9bd5", "P", (0, (1, 1)), "++"),
    Look("#8f8f8f", "X", (0, (3, 1)), "oo"),
)
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.88",
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


class _Chart(NamedTuple):
    """What all charts of a sweep have in common."""

    rows: List[Row]
    subtitle: str
    link: float  # GB/s of the simulated link, 0 without one
    looks: Dict[str, Look]

    @property
    def ways(self) -> List[str]:
        return _unique(row.run.way for row in self.rows)

    @property
    def processes(self) -> List[int]:
        return sorted({row.run.processes for row in self.rows})

    def only(self, rows: Iterable[Row]) -> "_Chart":
        return self._replace(rows=list(rows))


# ------------------------------------------------------------------ parts of charts


def _unique(values: Iterable[str]) -> List[str]:
    return list(dict.fromkeys(values))


def _best(rows: Iterable[Row]) -> Optional[Row]:
    return max(rows, key=lambda row: row.median, default=None)


def _of(chart: _Chart, way: str, processes: int) -> List[Row]:
    return [row for row in chart.rows if (row.run.way, row.run.processes) == (way, processes)]


def _bests(chart: _Chart, ways: Iterable[Tuple[str, int]]) -> List[Row]:
    """The best row of each way and number of processes that has any."""
    found = [_best(_of(chart, way, processes)) for way, processes in ways]
    return [row for row in found if row is not None]


def _spread(rows: Sequence[Row]) -> List[List[float]]:
    return [[row.median - min(row.speeds) for row in rows], [max(row.speeds) - row.median for row in rows]]


def _panels(count: int, columns: int, title: str, chart: _Chart) -> Tuple[Figure, List[Axes]]:
    """A figure with ``count`` panels, none of them empty."""
    columns = min(columns, count)
    lines = -(-count // columns)
    width = max(PANEL[0] * columns, 6.4)
    figure, grid = plt.subplots(
        lines, columns, figsize=(width, PANEL[1] * lines + 1.5), squeeze=False, sharey=True, layout="constrained"
    )
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    _title(figure, title, chart.subtitle)
    return figure, list(grid.flat[:count])


def _title(figure: Figure, title: str, subtitle: str) -> None:
    """Above the panels, at sizes that do not depend on the figure's."""
    lines = textwrap.wrap(subtitle, int(figure.get_figwidth() * 13))
    height = figure.get_figheight()
    figure.text(0.015, 1 - 0.12 / height, title, fontsize=13, fontweight="bold", va="top", ha="left")
    figure.text(0.015, 1 - 0.40 / height, "\n".join(lines), fontsize=8.5, color="0.25", va="top", ha="left")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - (0.5 + 0.16 * len(lines)) / height))


def _points(axes: Axes, xs: Sequence[float], rows: Sequence[Row], look: Look, label: str) -> None:
    axes.errorbar(
        xs,
        [row.median for row in rows],
        yerr=_spread(rows),
        label=label,
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        capsize=3,
        elinewidth=1.0,
        markeredgecolor="white",
        markeredgewidth=0.7,
    )


def _level(axes: Axes, row: Row, look: Look, label: str) -> None:
    """A way that has one speed for every size."""
    axes.axhline(row.median, label=label, color=look.colour, linestyle=look.line, linewidth=1.3)
    axes.axhspan(min(row.speeds), max(row.speeds), color=look.colour, alpha=0.12, linewidth=0)


def _link(axes: Axes, chart: _Chart) -> None:
    if chart.link:
        axes.axhline(chart.link, label=f"simulated link, {chart.link:g} GB/s", **LINK_STYLE)


def _powers(axes: Axes, values: Sequence[float], label: str) -> None:
    """A logarithmic axis that is marked at the values measured, as many as fit beside each other."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(values) > 1:
        axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
    axes.set_xlabel(label)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One for all panels, below them."""
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    columns = max(1, int(figure.get_figwidth() / 2.1))
    figure.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=columns, fontsize=9)


def _from_zero(panels: Sequence[Axes], chart: _Chart, label: str) -> None:
    top = max([chart.link, *(max(row.speeds) for row in chart.rows)])
    for axes in panels:
        axes.set_ylim(0, top * 1.12)
    columns = [axes for axes in panels if axes.get_subplotspec().is_first_col()]
    for axes in columns:
        axes.set_ylabel(label)


def _count(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"


# ------------------------------------------------------------------ the charts


def _throughput(chart: _Chart) -> Optional[Figure]:
    """Against buffer size, a panel for each number of processes; of several chunk sizes the best one counts."""
    buffers = sorted({row.run.buffer for row in chart.rows if row.run.buffer})
    if not buffers:
        return None
    figure, panels = _panels(len(chart.processes), 2, "Throughput by buffer size", chart)
    for axes, processes in zip(panels, chart.processes):
        for way in chart.ways:
            rows = _of(chart, way, processes)
            sized = [_best(r for r in rows if r.run.buffer == buffer) for buffer in buffers]
            found = [(buffer / MIB, row) for buffer, row in zip(buffers, sized) if row is not None]
            if found:
                _points(axes, [x for x, _ in found], [row for _, row in found], chart.looks[way], way)
            elif rows:
                _level(axes, rows[0], chart.looks[way], way)
        _link(axes, chart)
        axes.set_title(_count(processes), loc="left")
        _powers(axes, [buffer / MIB for buffer in buffers], "buffer of each process (MiB)")
    _from_zero(panels, chart, SPEED)
    _legend(figure, panels)
    return figure


def _scaling(chart: _Chart) -> Optional[Figure]:
    """A panel for each way: its best combination at each number of processes, and the ideal line."""
    if len(chart.processes) < 2:
        return None
    figure, panels = _panels(len(chart.ways), 3, "Scaling with processes", chart)
    for axes, way in zip(panels, chart.ways):
        rows = _bests(chart, [(way, n) for n in chart.processes])
        counts = [row.run.processes for row in rows]
        one = rows[0].median / counts[0]
        ideal = [one * n for n in chart.processes]
        axes.plot(chart.processes, ideal, color="0.5", linestyle=":", linewidth=1.3, label="ideal: so many times one")
        _link(axes, chart)
        _points(axes, counts, rows, chart.looks[way], "measured")
        axes.set_title(way, loc="left")
        _powers(axes, chart.processes, "processes")
    _from_zero(panels, chart, SPEED)
    _legend(figure, panels[:1])
    return figure


def _bars(chart: _Chart) -> Optional[Figure]:
    """Each way's best, ours and what one would use otherwise."""
    if len(chart.ways) < 2:
        return None
    figure, panels = _panels(len(chart.processes), 2, "Each way at its best", chart)
    for axes, processes in zip(panels, chart.processes):
        rows = _bests(chart, [(way, processes) for way in chart.ways])
        for at, row in enumerate(rows):
            look = chart.looks[row.run.way]
            face = "white" if row.peer else look.colour
            axes.bar(at, row.median, 0.66, color=face, edgecolor=look.colour, hatch=look.hatch if row.peer else "")
            # White below black shows on a dark bar and on the page.
            for colour, width in (("white", 3.0), ("black", 1.0)):
                spread = _spread([row])
                axes.errorbar(at, row.median, spread, color=colour, capsize=4, elinewidth=width, capthick=width)
            axes.annotate(
                f"{row.median:.2f}",
                (at, max(row.speeds)),
                (0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                bbox={"facecolor": "white", "linewidth": 0, "pad": 0.8},
                zorder=3,
            )
        _link(axes, chart)
        names = [textwrap.fill(row.run.way, 9, break_long_words=False) for row in rows]
        axes.set_xticks(range(len(rows)), names, fontsize=8, rotation=0 if len(rows) < 6 else 30)
        axes.grid(axis="x", visible=False)
        axes.set_title(_count(processes), loc="left")
    _from_zero(panels, chart, SPEED)
    _legend(figure, panels)
    return figure


def _headers(chart: _Chart) -> Optional[Figure]:
    """Files a second against the size of a batch; one line for each way and number of threads."""
    batches = sorted({row.run.batch for row in chart.rows})
    if not batches:
        return None
    threads = sorted({row.run.threads for row in chart.rows})
    lines = [(way, n) for way in chart.ways for n in threads]
    looks = {line: LOOKS[at % len(LOOKS)] for at, line in enumerate(lines)}
    figure, panels = _panels(len(chart.processes), 2, "Headers of many files", chart)
    for axes, processes in zip(panels, chart.processes):
        for way, n in lines:
            rows = [r for r in chart.rows if (r.run.way, r.run.threads, r.run.processes) == (way, n, processes)]
            rows.sort(key=lambda r: r.run.batch)
            if rows:
                _points(axes, [r.run.batch for r in rows], rows, looks[way, n], f"{way}, {n} threads")
        axes.set_title(_count(processes), loc="left")
        _powers(axes, batches, "files in a batch")
    _from_zero(panels, chart._replace(link=0.0), FILES)
    _legend(figure, panels)
    return figure


# ------------------------------------------------------------------ heat maps


def _cell(axes: Axes, x: int, y: int, row: Row, dark: bool) -> None:
    colour = "white" if dark else "black"
    axes.text(x, y + 0.08, f"{row.median:.2f}", ha="center", va="center", color=colour, fontsize=9)
    spread = f"{min(row.speeds):.2f} - {max(row.speeds):.2f}"
    axes.text(x, y - 0.26, spread, ha="center", va="center", color=colour, fontsize=6)


def _heat(chart: _Chart) -> Optional[Figure]:
    """Buffer against chunk, a panel for each way that was measured with several, at each number of processes."""
    rows = [row for row in chart.rows if row.run.buffer and not row.peer]
    buffers, chunks = sorted({r.run.buffer for r in rows}), sorted({r.run.chunk for r in rows})
    if len(rows) <= len(buffers) * len({(r.run.way, r.run.processes) for r in rows}):
        return None
    chart = chart.only(rows)
    places = [(way, n) for way in chart.ways for n in chart.processes]
    columns = len(chart.processes)
    figure, grid = plt.subplots(
        len(chart.ways),
        columns,
        figsize=(
            max(7.0, (0.78 * len(buffers) + 1.0) * columns + 1.2),
            (0.6 * len(chunks) + 1.2) * len(chart.ways) + 1,
        ),
        squeeze=False,
        layout="constrained",
    )
    _title(figure, "Throughput by buffer and chunk", chart.subtitle)
    top = max(row.median for row in rows)
    for axes, (way, n) in zip(grid.flat, places):
        image = _heat_panel(axes, [r for r in rows if (r.run.way, r.run.processes) == (way, n)], buffers, chunks, top)
        axes.set_title(f"{way}, {_count(n)}", loc="left")
    figure.colorbar(image, ax=grid, label=f"median {SPEED}", shrink=0.8)
    return figure


def _heat_panel(axes: Axes, rows: Sequence[Row], buffers: Sequence[int], chunks: Sequence[int], top: float) -> object:
    values = [[float("nan")] * len(buffers) for _ in chunks]
    for row in rows:
        values[chunks.index(row.run.chunk)][buffers.index(row.run.buffer)] = row.median
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto", origin="lower")
    for row in rows:
        x, y = buffers.index(row.run.buffer), chunks.index(row.run.chunk)
        _cell(axes, x, y, row, row.median > 0.6 * top)
    axes.set_xticks(range(len(buffers)), [f"{b / MIB:g}" for b in buffers])
    axes.set_yticks(range(len(chunks)), [f"{c / MIB:g}" if c else "auto" for c in chunks])
    axes.set_xlabel("buffer (MiB)")
    axes.set_ylabel("chunk (MiB)")
    axes.grid(visible=False)
    return image


# ------------------------------------------------------------------ all of them

Draw = Callable[[_Chart], Optional[Figure]]

#: Name, drawing, and the operation whose rows it shows.
CHARTS: Tuple[Tuple[str, Draw, str], ...] = (
    ("throughput", _throughput, "read_chunked"),
    ("heatmap", _heat, "read_chunked"),
    ("scaling", _scaling, "read_chunked"),
    ("ways", _bars, "read_chunked"),
    ("headers", _headers, "headers_batch"),
)


def draw(stem: str, rows: Sequence[Row], subtitle: str, link: float) -> List[str]:
    """Draws what there is data for; the files."""
    good = [row for row in rows if row.samples and row.status != FAILED]
    # Ours looks the same whatever it is beside.
    ways = sorted(_unique(row.run.way for row in good), key=lambda way: way != "c")
    looks = {way: LOOKS[at % len(LOOKS)] for at, way in enumerate(ways)}
    files = []
    for name, function, op in CHARTS:
        chart = _Chart([row for row in good if row.run.op == op], subtitle, link, looks)
        with plt.rc_context(STYLE):
            figure = function(chart) if chart.rows else None
            if figure is None:
                continue
            for suffix in ("png", "svg"):
                files.append(f"{stem}-{name}.{suffix}")
                figure.savefig(files[-1], dpi=130)
            plt.close(figure)
    return files
