"""The ``rtclab`` command: ``lab``, ``serve``, ``bench`` and ``doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import RtclabError


def port(text: str) -> int:
    """A number of a port, or 0 for any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)


def _parser(asked: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rtclab", description="The WebRTC lab that lives in a notebook.")
    parser.add_argument("--version", action="version", version=f"rtclab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    lab.add_argument("--port", type=port, metavar="N", help="TCP port; 0 takes a free one")
    lab.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    lab.add_argument(
        "--notebook-dir",
        type=Path,
        metavar="DIR",
        help="folder to work in; notebooks that it lacks are copied there",
    )

    serve = commands.add_parser("serve", help="run a room without a notebook: a page, WHIP and WHEP")
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where HTTP listens (%(default)s)"
    )
    serve.add_argument(
        "--port", type=port, default=8080, metavar="N", help="TCP port (%(default)s); 0 takes a free one"
    )
    serve.add_argument(
        "--udp-port", type=port, default=0, metavar="N", help="port of all media; 0 takes a free one"
    )
    serve.add_argument(
        "--architecture",
        default="sfu",
        choices=("mesh", "relay", "sfu", "mcu"),
        help="how the room forwards (%(default)s)",
    )
    serve.add_argument("--token", help="what clients must show; made up unless HTTP stays on this machine")

    bench = commands.add_parser("bench", help="measure what a room costs, beside other media servers")
    if asked == "bench":  # what it measures with takes a while to import
        from .bench.command import add_arguments

        add_arguments(bench)

    doctor = commands.add_parser("doctor", help="check whether this machine has what rtclab needs")
    doctor.add_argument(
        "--install-chromium",
        action="store_true",
        help="as root on Debian: install Chromium, for the browser tests, if there is none",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0 when all went well, 1 for an error, 2 for wrong usage."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(words[0] if words else None).parse_args(words)
    try:
        if options.command == "lab":
            from .lab import lab

            lab(options.notebook_dir, options.port, not options.no_browser)
            return 0
        if options.command == "serve":
            from .serve import serve

            serve(options.host, options.port, options.udp_port, options.token, options.architecture)
            return 0
        if options.command == "bench":
            from .bench.command import bench

            return bench(options)
        from .diagnosis.machine import main as doctor

        return doctor(install=options.install_chromium)
    except RtclabError as error:
        sys.stderr.write(f"rtclab: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
