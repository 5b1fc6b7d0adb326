#!/usr/bin/python3
"""What owt costs, beside other servers in the same run: a table on stdout, bench.json and bench.png in build/bench.

All of it takes some minutes; --quick looks whether everything works, in less than one. Only loopback is used, only
processes that this program started are stopped, and it stops by itself.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import machine
import peers
import report
from rows import LONG, QUICK, SECTIONS, Run, Sizes

ROOT = Path(__file__).resolve().parents[2]


class _Stopped(BaseException):
    """Time is up, or somebody has said so."""


def main() -> int:
    """Runs the benchmark; 0 when everything could be measured, whatever the numbers."""
    options = _options()
    chosen = [peer for peer in peers.PEERS if peer.name in options.peers]
    if any(peer.name.startswith("owt") for peer in chosen) and not options.module.exists():
        sys.exit(f"{options.module} does not exist: build it first, with make")

    sizes = QUICK if options.quick else LONG if options.long else Sizes()
    _stop_in_time(120 if options.quick else 3600 if options.long else 900)
    tools = peers.Tools(options.nginx, options.module.resolve())
    described = machine.describe(options.nginx)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.out) as scratch:
        run = Run(tools, Path(scratch), sizes, chosen)
        for name in options.only:
            started = time.monotonic()
            try:
                run.rows.extend(SECTIONS[name](run))
            except peers.BenchError as error:
                run.errors.append(f"{name}: {error}")
            except _Stopped as stopped:  # what has been measured is told
                run.errors.append(f"{name}: stopped: {stopped}")
                break
            except Exception as error:
                traceback.print_exc()
                run.errors.append(f"{name}: {error!r}")
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    print(report.markdown(run, described))
    print("written:", *report.write(run, described, options.out), file=sys.stderr)
    return 1 if run.errors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [peer.name for peer in peers.PEERS]
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="less than a minute: does it work? its numbers are rough")
    length.add_argument("--long", action="store_true", help="more rounds, more calls")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"some of {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--peers", nargs="+", choices=names, default=names, metavar="PEER", help=f"some of {', '.join(names)}"
    )
    parser.add_argument("--nginx", type=Path, default=Path("/usr/sbin/nginx"))
    parser.add_argument("--module", type=Path, default=ROOT / "build/ngx_http_owt_module.so")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench", help="where results go")
    return parser.parse_args()


def _stop_in_time(seconds: int) -> None:
    """Whatever hangs, and when told to stop: everything that was started is stopped on the way out."""

    def stop(number: int, _frame: object) -> None:
        reason = f"not done within {seconds} s" if number == signal.SIGALRM else signal.strsignal(number)
        raise _Stopped(reason)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.alarm(seconds)


if __name__ == "__main__":
    sys.exit(main())
