from random import Random

from tests.torture.disk import KEPT, Disk, Fate
from tests.torture.recording import Kind, Step

OLD, NEW = b"o" * 1024, b"n" * 1024


def step(kind: Kind, name: str = "a", fd: int = 3, **more) -> Step:
    """Something that the kernel did."""
    return Step(
        kind, name, fd, more.get("created", False), more.get("offset", 0), more.get("data", b"")
    )


CREATED = step("opened", created=True)
SYNCED = step("synced")
FOLDER = [step("opened", "", 9), step("synced", "", 9), step("closed", "", 9)]
MADE = [CREATED, step("wrote", data=OLD), SYNCED, *FOLDER]


def found(steps: list[Step]) -> set[tuple[tuple[str, bytes], ...]]:
    """All that may be in the folder after a cut, of many draws."""
    disk, rng = Disk.at(steps), Random(1)
    drawn = [disk.after(Fate(rng, 0.5, 512)) for _ in range(300)]
    return {tuple(sorted(files.items())) for files in drawn}


def test_what_was_synced_stays():
    """A write before an fsync is there after every cut, if the name of its file is."""
    assert found(MADE) == {(("a", OLD),)}
    assert Disk.at(MADE).after(KEPT) == {"a": OLD}


def test_later_writes_arrive_or_not_or_in_part():
    """Each sector of a write that was not synced is the old one or the new one."""
    half = 512
    sectors = {
        first + second for first in (OLD[:half], NEW[:half]) for second in (OLD[:half], NEW[:half])
    }
    assert found([*MADE, step("wrote", data=NEW)]) == {(("a", content),) for content in sectors}


def test_sectors_are_those_of_the_file():
    """A write that begins inside of a sector is torn where the sector ends."""
    contents = {
        dict(files)["a"] for files in found([*MADE, step("wrote", offset=500, data=NEW[:24])])
    }
    parts = {OLD[:12], NEW[:12]}
    assert contents == {OLD[:500] + one + two + OLD[524:] for one in parts for two in parts}


def test_a_file_may_be_longer_without_its_bytes():
    """Of a write behind the end the length may arrive alone: zeros."""
    contents = {
        dict(files)["a"] for files in found([*MADE, step("wrote", offset=1024, data=NEW[:9])])
    }
    assert contents == {OLD, OLD + bytes(9), OLD + NEW[:9]}


def test_a_file_may_be_truncated_or_not():
    """So may a change of the length not arrive."""
    contents = {dict(files)["a"] for files in found([*MADE, step("truncated", offset=9)])}
    assert contents == {OLD, OLD[:9]}


def test_a_name_lasts_by_the_fsync_of_its_folder():
    """The fsync of a file makes nobody find it."""
    assert found([CREATED, step("wrote", data=OLD), SYNCED]) == {(), (("a", OLD),)}


def test_a_removed_file_may_come_back():
    """What was removed may be there again, as it was, also under the name of a new file."""
    gone = [*MADE, step("closed"), step("removed", fd=4096)]
    assert found(gone) == {(), (("a", OLD),)}
    again = [*gone, CREATED, step("wrote", data=NEW), SYNCED]
    assert found(again) == {(), (("a", OLD),), (("a", NEW),)}
    assert found([*again, *FOLDER]) == {(("a", NEW),)}
