"""What a server costs: CPU time and memory of a process and all its descendants, read from /proc."""

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """User and system time used so far: all threads, and children that have ended."""
    family = _family(root)
    # utime, stime and, for children waited for, cutime, cstime
    return sum(int(field) for stat in family.values() for field in stat[11:15]) / _TICKS


def rss(root: int) -> int:
    """Resident memory, in bytes."""
    return _memory(root, "VmRSS")


def peak_rss(root: int) -> int:
    """The most resident memory since `reset_peak_rss`, in bytes."""
    return _memory(root, "VmHWM")


def reset_peak_rss(root: int) -> None:
    """Lets `peak_rss` start anew. Where that is not allowed the peak is that of the process's whole life."""
    for pid in _family(root):
        with suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text("5")


def _memory(root: int, name: str) -> int:
    total = 0
    for pid in _family(root):
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in (_PROC / str(pid) / "status").read_text().splitlines():
                if line.startswith(name + ":"):
                    total += int(line.split()[1]) * 1024
    return total


def _family(root: int) -> dict[int, list[str]]:
    """By process id, the fields of /proc/PID/stat from the third on (proc(5))."""
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):
            # The second field, the program's name in parentheses, may itself hold both blanks and parentheses.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            stats[int(entry.name)] = fields
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    family: dict[int, list[str]] = {}
    pending = [root]
    while pending:
        pid = pending.pop()
        if pid in stats:
            family[pid] = stats[pid]
            pending += children.get(pid, [])
    return family
