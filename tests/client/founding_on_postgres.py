"""Runs in a process of its own: creates vaults on PostgreSQL, and is killed while it does.

Arguments: the URL of a database to practise on, that of the one to use, a folder for the homes, and the first step and
the stride. Each line on stdin asks for the next attempt; each line on stdout says how one ended, and in which home.
"""

import os
import signal
import sys
from typing import Any

import psycopg

from vaultctl.client.setup import initialise


def found_killed_at(home: str, url: str, step: int) -> None:
    """Create a vault, and be killed at the ``step``-th thing that it does to files or asks of the database."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(event: str, _: object) -> None:
        if event.partition(".")[0] in ("open", "os"):
            count()

    def counted(method: Any) -> Any:
        def call(*arguments: Any, **settings: Any) -> Any:
            count()
            result = method(*arguments, **settings)
            count()
            return result

        return call

    sys.addaudithook(on_event)
    for owner, name in ((psycopg.Connection, "execute"), (psycopg.Cursor, "executemany")):
        setattr(owner, name, counted(getattr(owner, name)))
    initialise(tenant="my-org", home=home, root_key="file", database=url)


def main() -> None:
    practice, url, homes, first, stride = sys.argv[1:]
    initialise(home=f"{homes}/practice", root_key="file", database=practice)  # loads everything
    step = int(first)
    for _ in sys.stdin:
        home = f"{homes}/{step}"
        child = os.fork()
        if child == 0:
            found_killed_at(home, url, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{'killed' if os.WIFSIGNALED(status) else 'finished'} {home}\n")
        sys.stdout.flush()
        step += int(stride)


if __name__ == "__main__":
    main()
