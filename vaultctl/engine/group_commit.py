"""Many calls, one commit.

Calls that wait at the same time run one after the other in one transaction, and are answered once it has committed.
There are no savepoints: a call that fails after it has written is rolled back with all the others, which are then run
again without it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from vaultctl.domain.errors import VaultError, VaultUnavailable, VerificationFailed
from vaultctl.engine.dispatch import Call, Outcome
from vaultctl.engine.engine import Engine, Spoiled, Written
from vaultctl.engine.memory import Memory
from vaultctl.engine.reruns import rerun
from vaultctl.store.interface import Conflicted

Result = Outcome | Exception


class Group(NamedTuple):
    """What a group of calls came to.

    Attributes:
        results: The outcome of each call, or the error that it ended in.
        grown: The tenants whose logs grew.
    """

    results: list[Result]
    grown: frozenset[str]


class GroupCommit:
    """Commits groups of calls, from one thread.

    Attributes:
        commits: Transactions that were committed.
        conflicts: Transactions that were run again because another one was in their way.
        spoiled: Transactions that were run again without one of their calls.
        failures: Transactions that could not be committed.
    """

    def __init__(self, engine: Engine, report: Callable[[Exception], None]) -> None:
        """``report`` is told why a transaction could not be committed; callers are not."""
        self._engine = engine
        self._report = report
        self._memory = Memory()
        self._random = engine.drawing()
        self.commits = 0
        self.conflicts = 0
        self.spoiled = 0
        self.failures = 0

    def run(self, calls: Sequence[Call], joining: Callable[[], Iterable[Call]] | None = None) -> Group:
        """Run ``calls``; each gets its own result, whatever becomes of the others.

        ``joining`` answers those that have come meanwhile, which are run with them. It may be asked several times.
        """
        calls = list(calls)
        try:
            written = self._write(calls, joining)
        except Exception as error:
            return self._without_who_failed(calls, error)
        return Group(list(written.results), written.grown)

    def forget_opened(self) -> None:
        """Forget the values that were opened; to be called every now and then."""
        self._memory.forget_opened()

    def _without_who_failed(self, calls: list[Call], error: Exception) -> Group:
        """Run ``calls`` again, which failed together with ``error``."""
        results: dict[int, Result] = {}
        grown: set[str] = set()
        together = list(enumerate(calls))
        alone: list[tuple[int, Call]] = []
        failure: Exception | None = error
        while together:
            if isinstance(failure, Spoiled):
                self.spoiled += 1
                alone.append(together.pop(failure.index))
                if len(alone) > 1:  # rather than once more for each that fails
                    alone += together
                    together = []
            elif failure is not None:
                if len(together) > 1 and not isinstance(failure, VaultUnavailable):  # that of one of them, perhaps
                    alone += together
                else:
                    results |= {index: self._failure(failure) for index, _ in together}
                together = []
            if not together:
                break
            failure = None
            try:
                written = self._write([call for _, call in together])
            except Exception as again:
                failure = again
            else:
                results |= {index: result for (index, _), result in zip(together, written.results, strict=True)}
                grown |= written.grown
                together = []
        for index, call in alone:
            group = self.run([call])
            results[index] = group.results[0]
            grown |= group.grown
        return Group([results[index] for index in range(len(calls))], frozenset(grown))

    def _write(self, calls: list[Call], joining: Callable[[], Iterable[Call]] | None = None) -> Written:
        def write() -> Written:
            try:
                return self._engine.write(calls, self._memory, random=self._random, joining=joining)
            except Conflicted:
                self.conflicts += 1
                raise

        written = rerun(write)
        self.commits += 1
        return written

    def _failure(self, error: Exception) -> Exception:
        """What a caller is told whose transaction did not commit: why only if that was the request's own fault."""
        if isinstance(error, VaultError) and not isinstance(error, VaultUnavailable | VerificationFailed):
            return error
        self.failures += 1
        self._report(error)
        if isinstance(error, VaultError):
            return not_committed()
        return error


def not_committed() -> VaultUnavailable:
    """What callers are told whose transaction did not commit, or not in time: the reason is not theirs to know."""
    return VaultUnavailable(
        "The vault could not commit the request.",
        hint="Try again, with the same idempotency key: then it is carried out once.",
    )
