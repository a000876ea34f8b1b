"""`python deployments/lab/node --kubeconfig PATH --home HOME --bin BIN --python PYTHON`: be the lab's one node."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

# Run as a directory, Python puts the package itself on the path: its parent must be there instead.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from node import addresses, leftovers  # noqa: E402
from node.api import Api  # noqa: E402
from node.images import Images  # noqa: E402
from node.node import Node  # noqa: E402
from node.pod import Lab  # noqa: E402


def arguments() -> argparse.Namespace:
    """What the node is told on its command line."""
    parser = argparse.ArgumentParser(prog="node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True, help="the lab's own directory: logs, pods, faults.json")
    parser.add_argument("--bin", type=Path, required=True, help="where the built programs are")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter pods find first")
    parser.add_argument("--name", default="lab")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    """Keep the node until told to stop; its pods end with it."""
    home = options.home.absolute()
    leftovers.sweep(home / "pods")
    block = addresses.take(home)
    undertaker = leftovers.undertaker(home / "pods")
    images = Images.load({"bin": str(options.bin.absolute()), "python": str(options.python.absolute())})
    async with Api(options.kubeconfig) as api:
        lab = Lab(api=api, home=home, images=images, python=options.python.absolute(), block=block)
        node = asyncio.create_task(Node(lab, options.name).serve())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, node.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await node
    undertaker.stdin.close()
    undertaker.wait()


if __name__ == "__main__":
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(serve(arguments()))
