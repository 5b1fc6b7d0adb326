"""The curve of a formula in x, as PNG or SVG, whichever the client accepts better."""

import numpy as np
from matplotlib.figure import Figure


def run(request, y: str = "sin(x) / x", start: float = -20, stop: float = 20, ink: str = "black"):
    x = np.linspace(float(start), float(stop), 1000)
    figure = Figure(figsize=(6, 3), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.plot(x, np.broadcast_to(eval(y, vars(np) | {"x": x}), x.shape), color="tab:orange")
    axes.set_title(f"y = {y}", color=ink)
    axes.tick_params(color=ink, labelcolor=ink)
    axes.spines[:].set_color(ink)
    return figure
