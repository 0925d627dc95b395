import gc
import threading

from agent.eventstore import processes


class Lock:
    """A lock that only the garbage collector frees."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._itself = self

    def acquire(self, *, timeout: float) -> bool:
        """Take it."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


def test_garbage_is_collected_while_a_fork_begins():
    """A fork is prepared whole, at whichever allocation the garbage collector comes in."""
    before = gc.get_threshold()
    gc.freeze()
    try:
        for threshold in range(20, 400):
            gc.disable()
            gc.collect()
            gc.set_threshold(threshold, 1000, 1000)
            for _ in range(50):
                processes.awaited_by_forks(Lock())
            gc.enable()
            processes._before_fork()
            processes._let_go()
    finally:
        gc.enable()
        gc.set_threshold(*before)
        gc.unfreeze()
    assert processes._held == []
