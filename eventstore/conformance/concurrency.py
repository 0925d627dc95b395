"""Threads that share a log, and a log that is opened again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from unittest import SkipTest

from agent.eventstore import core
from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import expect
from agent.eventstore.conformance.facts import attached, said, started
from agent.eventstore.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.eventstore.record import Head

THREADS = 8

T = TypeVar("T")


class Concurrency(Contract):
    """Tests 71 to 77."""

    def test_71_threads_append_to_their_own_streams(self) -> None:
        """Eight threads, each with its own stream, do not disturb each other."""
        names = [f"s{number}" for number in range(THREADS)]

        heads = at_once([lambda name=name: self.grow(name, to=6) for name in names])

        expect("the heads", heads, [self.log.head(name) for name in names])
        for name in names:
            chain = core.verified(self.log.read(name), stream=name)
            expect(
                name,
                [(name, version) for version in range(1, 7)],
                [(f.stream, f.version) for f in chain],
            )

    def test_72_one_of_many_wins_a_version(self) -> None:
        """Of eight threads that append at the same head, one succeeds and the others conflict."""
        for version in range(1, 6):
            head = self.grow("a", to=version)
            jobs = [lambda n=n, head=head: self._try(head, f"{n}") for n in range(THREADS)]

            won = [end for end in at_once(jobs) if end]

            expect(f"the winners of version {version + 1}", [self.log.head("a")], won)
            expect("the version", version + 1, self.known("a").version)

    def test_73_none_is_lost_between_threads(self) -> None:
        """Eight threads that read the head and append until they succeed store every event once."""
        self.grow("a", to=1)

        at_once([lambda name=name: self._insist(name, times=4) for name in "bcdefghi"])

        chain = list(core.verified(self.log.read("a"), stream="a"))
        texts = sorted(str(fact.payload) for fact in chain[1:])
        expected = sorted(str(said(f"{name}{n}").payload) for name in "bcdefghi" for n in range(4))
        expect("the events", expected, texts)

    def test_74_no_reader_sees_half_of_an_append(self) -> None:
        """A head is always one that an append answered with."""
        self.log.append("a", [started("a"), said("two"), said("three")], expected=None)
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(30):
                    facts = [said("one"), said("two"), said("three")]
                    self.log.append("a", facts, expected=self.log.head("a"))
            finally:
                done.set()

        def watch() -> set[int]:
            seen = {self.known("a").version % 3}
            while not done.is_set():
                seen.add(self.known("a").version % 3)
            return seen

        expect("the remainders", [None, {0}, {0}], at_once([write, watch, watch]))

    def test_75_a_follower_misses_nothing(self) -> None:
        """Who follows the feed from checkpoint to checkpoint sees each event once, in order."""
        done = threading.Event()

        def write() -> None:
            try:
                at_once([lambda name=name: self.grow(name, to=6) for name in "abcdefgh"])
            finally:
                done.set()

        def follow() -> list[bytes]:
            seen: list[bytes] = []
            checkpoint, last_round = 0, False
            while not last_round:
                last_round = done.is_set()
                for fact in self.log.read_all(after=checkpoint):
                    seen.append(fact.hash)
                    checkpoint = fact.position or 0
            return seen

        _, seen = at_once([write, follow])

        expect("the feed", [fact.hash for fact in self.feed()], seen)
        expect("the number of events", 48, len(seen or ()))

    def test_76_a_reopened_log_is_the_same(self) -> None:
        """Opened again, a log has the same streams, events, positions, forks and attachments."""
        name = self.log.put_blob(b"x")
        self.log.append("a", [started("a"), attached(b"x"), said("end")], expected=None)
        self.fork("a", "b", at=2)
        self.grow("c", to=2)
        self.delete("c")
        before = self.feed(), list(self.log.streams()), self.events("b")

        again = self.reopen(self.log)
        if again is None:
            raise SkipTest("this log ends with the process")
        self._log = again

        expect("the log", before, (self.feed(), list(self.log.streams()), self.events("b")))
        expect("the attachment", b"x", self.log.get_blob(name))
        self.grow("b", to=4)
        expect(
            "what follows",
            [("b", 4)],
            [(f.stream, f.version) for f in self.feed()[len(before[0]) :]],
        )

    def test_77_a_log_can_be_closed_twice(self) -> None:
        """To close a closed log is fine, used or not."""
        self.log.close()
        self.log.close()

    def _try(self, head: Head, text: str) -> Head | None:
        try:
            return self.log.append("a", [said(text)], expected=head)
        except ConflictError:
            return None

    def _insist(self, name: str, *, times: int) -> None:
        for number in range(times):
            while not self._try(self.known("a"), f"{name}{number}"):
                pass


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run each job in a thread of its own, all starting together; their answers in order."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))
