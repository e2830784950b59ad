"""The command line of ``rtclab bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import RtclabError
from . import fanout, join, latency, mix, switch
from .janus import find_janus
from .plot import check_plot, plot
from .processes import check_platform, cores
from .progress import Progress
from .rig import Load

VERSUS = {"janus": ("janus", "janus tuned"), "mediarelay": ("mediarelay",)}
_JANUS_NOTE = (
    "janus: the package as configured by default. janus tuned: event_loops = 2. libsrtp on OpenSSL, which "
    "would help it too, cannot be chosen in the package."
)
_RELAY_NOTE = (
    "mediarelay: aiortc decodes once and encodes for each viewer, at a bit rate of its own, so what is "
    "delivered cannot be compared with what was sent."
)


def counts(text: str) -> list[int]:
    """Numbers of viewers, separated by commas."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers of viewers such as 20,100,200")
    return numbers


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def target(text: str) -> Path:
    """A file that can be written when all is measured."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: no such folder, or not yours")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser of ``rtclab bench`` its commands."""
    commands = parser.add_subparsers(dest="measure", required=True, metavar="what")
    always = argparse.ArgumentParser(add_help=False)
    always.add_argument("--json", type=target, metavar="FILE", help="write all figures there")
    common = argparse.ArgumentParser(add_help=False, parents=[always])
    common.add_argument("--fps", type=float, default=30.0, metavar="N", help="pictures a second (30)")
    common.add_argument(
        "--packets-per-frame", type=positive, default=4, metavar="N", help="of 1.1 kB each (4: 1 Mbit/s)"
    )
    common.add_argument("--audio", action="store_true", help="send Opus too, 50 packets a second")
    common.add_argument(
        "--rounds", type=positive, metavar="N", help="medians of so many (1, or 3 with --versus)"
    )
    common.add_argument("--plot", type=target, metavar="FILE.png", help="draw them there")
    versus = argparse.ArgumentParser(add_help=False)
    versus.add_argument(
        "--versus",
        action="append",
        choices=VERSUS,
        default=[],
        help="measure this server too, in alternation; may be given twice",
    )

    one = commands.add_parser("fanout", parents=[common, versus], help="CPU, delivery and latency by viewers")
    one.add_argument("--viewers", type=counts, default=[20, 100, 200], metavar="N,N,...", help="(20,100,200)")
    one.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of each measurement (8)")
    two = commands.add_parser("join", parents=[common, versus], help="how long viewers take to join")
    two.add_argument("--viewers", type=positive, default=200, metavar="N", help="(200)")
    two.add_argument("--at-once", type=positive, default=8, metavar="N", help="(8)")
    three = commands.add_parser("latency", parents=[common], help="latency beside a busy notebook cell")
    three.add_argument("--viewers", type=positive, default=200, metavar="N", help="(200)")
    three.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of each measurement (8)")
    four = commands.add_parser(
        "mix", parents=[always], help="the MCU's rate, CPU and latency beside the SFU's"
    )
    four.add_argument("--fps", type=positive, default=30, metavar="N", help="pictures a second of each (30)")
    four.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of each measurement (8)")
    four.add_argument("--rounds", type=positive, default=3, metavar="N", help="medians of so many (3)")
    five = commands.add_parser("switch", parents=[always], help="gaps when the architecture is switched")
    five.add_argument(
        "--rounds", type=positive, default=3, metavar="N", help="through all twelve changes (3)"
    )


def bench(options: argparse.Namespace) -> int:
    """Run the benchmark that the command line asks for, and print its table.

    Raises
    ------
    rtclab.errors.RtclabError
        Something it needs is missing, or a process of it failed.
    """
    check_platform()
    versus = getattr(options, "versus", [])
    if "janus" in versus:
        find_janus()
    plotted = getattr(options, "plot", None)
    if plotted is not None:
        check_plot()
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves as Ctrl-C does
    try:
        with Progress() as progress:
            rows, text, load = _measure(options, versus, progress)
    except KeyboardInterrupt:
        raise RtclabError("stopped; all processes of the benchmark have ended") from None
    finally:
        signal.signal(signal.SIGTERM, former)
    notes = [_JANUS_NOTE] * ("janus" in versus) + [_RELAY_NOTE] * ("mediarelay" in versus)
    sys.stdout.write("\n".join([text, *notes]) + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps(report(options.measure, rows, load), indent=1), "utf-8")
    if plotted is not None:
        plot(options.measure, rows, plotted)
    return 0


def _measure(
    options: argparse.Namespace, versus: list[str], progress: Progress
) -> tuple[list[dict[str, Any]], str, Load | None]:
    """The rows and the table of what was asked for, and the load of packets if that is what it takes."""
    if options.measure == "mix":
        rows = mix.mix(options.fps, options.seconds, options.rounds, progress)
        return rows, mix.show(rows), None
    if options.measure == "switch":
        rows = switch.switch(options.rounds, progress)
        return rows, switch.show(rows), None
    systems = ["rtclab", *(system for name in dict.fromkeys(versus) for system in VERSUS[name])]
    load = Load(options.fps, options.packets_per_frame, options.audio, real="mediarelay" in versus)
    rounds = options.rounds or (3 if versus else 1)
    if options.measure == "fanout":
        rows = fanout.fanout(systems, options.viewers, options.seconds, rounds, load, progress)
        return rows, fanout.show(rows), load
    if options.measure == "join":
        rows = join.join(systems, options.viewers, options.at_once, rounds, load, progress)
        return rows, join.show(rows), load
    rows = latency.latency(options.viewers, options.seconds, rounds, load, progress)
    return rows, latency.show(rows), load


def report(measure: str, rows: list[dict[str, Any]], load: Load | None) -> dict[str, Any]:
    """What ``--json`` writes: the rows, and what is needed to compare them with others."""
    return {
        "measure": measure,
        "rtclab": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": cores(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": None if load is None else asdict(load),
        "rows": rows,
    }
