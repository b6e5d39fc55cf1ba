"""``python -m flyte.devbox``: the control plane of this machine, in the foreground."""

import argparse
import asyncio
import sys

from flyte._core import log


def main() -> int:
    """Run it until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m flyte.devbox", description="The control plane of this machine.")
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1 (default: where it last did)")
    parser.add_argument("--places", type=int, default=0, help="how many attempts may work at the same time")
    parser.add_argument("--cpus", type=float, default=0, help="how many processors these may ask for together")
    parser.add_argument(
        "--memory", type=_bytes, default=0, help="how much memory they may ask for together, as in 16Gi"
    )
    parser.add_argument("--no-token", action="store_true", help="serve whoever asks on this machine")
    parser.add_argument("--no-warm", action="store_true", help="start each attempt as a new process, never by a fork")
    said = parser.parse_args()
    log.configure()
    from ._plane import AlreadyRunning, Devbox, serve

    try:
        asyncio.run(
            serve(
                Devbox(
                    port=said.port,
                    places=said.places or None,
                    cpus=said.cpus or None,
                    memory_bytes=said.memory or None,
                    guarded=not said.no_token,
                    warm=not said.no_warm,
                )
            )
        )
    except (AlreadyRunning, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _bytes(text: str) -> int:
    from flyte._definition.resources import Resources

    try:
        size = Resources(memory=text).memory_range()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return size[1] if size is not None else 0


if __name__ == "__main__":
    sys.exit(main())
