"""The console script."""

import gc
import sys


def main() -> None:
    """Run ``vaultctl``.

    A command is over before cyclic garbage matters, and at its end nothing needs to be collected: that is a sixth of
    its time. What runs for long turns the collector on again.
    """
    gc.disable()
    from vaultctl.cli.main import main as run

    status = run(sys.argv[1:])
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    main()
