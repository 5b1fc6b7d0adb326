"""The report: Markdown for people, JSON for programs, a picture."""

import json
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from rows import Row, Run

# From light to dark, as connections grow.
SHADES = ["#a6cee3", "#5b9bc8", "#1f4e79"]


def markdown(run: Run, machine: dict[str, str]) -> str:
    """The whole report as text."""
    parts = [", ".join(f"{name} {value}" for name, value in machine.items())]
    if run.echoes.readings:
        parts.append(_echo_table(run))
    if run.rows:
        parts.append(_row_table(run.rows))
    parts += [f"**{error}**" for error in run.errors]
    return "\n\n".join(parts) + "\n"


def write(run: Run, machine: dict[str, str], directory: Path) -> list[Path]:
    """Writes bench.json and bench.png."""
    directory.mkdir(parents=True, exist_ok=True)
    data, picture = directory / "bench.json", directory / "bench.png"
    content = {
        "machine": machine,
        "sizes": asdict(run.sizes),
        "echo": {
            name: {number: [asdict(reading) for reading in readings] for number, readings in by_connections.items()}
            for name, by_connections in run.echoes.readings.items()
        },
        "rows": [asdict(row) | {"verdict": row.verdict} for row in run.rows],
        "errors": run.errors,
    }
    data.write_text(json.dumps(content, indent=1) + "\n")
    if not run.echoes.readings:
        return [data]
    _draw(run, machine, picture)
    return [data, picture]


def _table(head: list[str], lines: list[list[str]], numbers: set[int]) -> str:
    """A Markdown table whose columns are also aligned as plain text; `numbers` are those aligned to the right."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def row(cells: list[str]) -> str:
        pairs = zip(cells, widths, strict=True)
        padded = [cell.rjust(width) if i in numbers else cell.ljust(width) for i, (cell, width) in enumerate(pairs)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (width - 1) + ":" if i in numbers else "-" * width for i, width in enumerate(widths)]
    return "\n".join([row(head), row(rule), *map(row, lines)])


def _echo_table(run: Run) -> str:
    echoes = run.echoes
    head = ["POST JSON echo", "connections", "CPU per call", "/ Lua", "/ Starlette", "calls/s", "p50", "p99"]
    lines = []
    for peer in run.peers:
        for number in run.sizes.connections:
            against = [
                f"{echoes.ratio(peer.name, other, number):.2f}x" if run.find(other) else ""
                for other in ("lua", "starlette")
            ]
            times = [f"{echoes.median(peer.name, number, what) * 1e3:.2f} ms" for what in ("p50", "p99")]
            cpu = f"{echoes.median(peer.name, number, 'cpu_per_call') * 1e6:.1f} µs"
            rate = f"{echoes.median(peer.name, number, 'rate'):,.0f}"
            lines.append([peer.title, str(number), cpu, *against, rate, *times])
    return _table(head, lines, set(range(1, len(head))))


def _row_table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        value = f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.3g}"
        lines.append([row.measure, str(row.goal or ""), value + row.unit, row.verdict])
    return _table(["measure", "reach", "is", "verdict"], lines, {1, 2})


def _draw(run: Run, machine: dict[str, str], path: Path) -> None:
    """CPU per call, a group of bars for each peer and in it a bar for each number of connections."""
    echoes, numbers = run.echoes, run.sizes.connections
    figure = Figure(figsize=(10, 1.4 + 0.8 * len(run.peers)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(numbers)
    for i, number in enumerate(numbers):
        places = [at + (i - (len(numbers) - 1) / 2) * thickness for at in range(len(run.peers))]
        cpu = [echoes.median(peer.name, number, "cpu_per_call") * 1e6 for peer in run.peers]
        label = f"{number} connection{'s' if number > 1 else ''}"
        bars = axes.barh(places, cpu, thickness * 0.92, color=SHADES[i % len(SHADES)], label=label)
        texts = [f"{value:.1f} µs" if value < 100 else f"{value:.0f} µs" for value in cpu]
        if run.find("lua"):
            ratios = [echoes.ratio(peer.name, "lua", number) for peer in run.peers]
            texts = [f"{text}  ({ratio:.1f}x)" for text, ratio in zip(texts, ratios, strict=True)]
        axes.bar_label(bars, texts, padding=3, fontsize=8)
    axes.set_yticks(range(len(run.peers)), [peer.title.replace("`", "") for peer in run.peers])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_xlim(1, axes.get_xlim()[1] * 2.2)
    axes.set_xlabel("CPU time (user + system) of the server's processes per call, µs, logarithmic")
    axes.set_title("POST JSON echo: what a call costs" + (", and against nginx+Lua" if run.find("lua") else ""))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False)
    note = f"{machine['CPU']}, {machine['cores']} cores, kernel {machine['kernel']}, nginx {machine['nginx']}"
    figure.supxlabel(f"{note}, Python {machine['python']}", fontsize=8, color="#666666")
    figure.savefig(path, dpi=150)
