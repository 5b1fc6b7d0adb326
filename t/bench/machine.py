"""What it was measured on, and with what."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path


def describe(nginx: Path) -> dict[str, str]:
    """Names and values for the head of a report."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return {
        "CPU": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "nginx": _first_line(str(nginx), "-v").partition("/")[2],
        "python": platform.python_version(),
        "wrk": _first_line("wrk", "-v").split(" ")[1],
        **{name: _version(name) for name in ("uvicorn", "starlette", "gunicorn", "flask")},
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    return done.stdout.partition("\n")[0]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
