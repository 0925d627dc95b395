import errno
import os
from pathlib import Path

import pytest

from agent.eventstore.errors import StoreFull, StoreUnusable
from agent.eventstore.files import new_file


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path):
    """Until then it has another one; nothing else is left."""
    target = tmp_path / "target"
    with new_file(target) as made:
        made.write_text("all of it")
        assert not target.exists()

    assert target.read_text() == "all of it"
    assert list(tmp_path.iterdir()) == [target]


def test_what_fails_leaves_nothing(tmp_path: Path):
    """Neither a part nor what lay beside it."""

    def fail() -> None:
        with new_file(tmp_path / "target") as made:
            made.write_text("a part")
            made.with_name("new-journal").write_text("more")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_name_that_is_taken(tmp_path: Path, when: str):
    """What has it stays, also a link that leads nowhere."""
    target = tmp_path / "target"
    if when == "before":
        target.symlink_to("nowhere")

    def write() -> None:
        with new_file(target) as made:
            made.write_text("mine")
            target.write_text("theirs")

    with pytest.raises(StoreUnusable, match="target exists already"):
        write()
    assert list(tmp_path.iterdir()) == [target]
    assert when == "before" or target.read_text() == "theirs"


def test_a_file_that_is_replaced(tmp_path: Path):
    """It stays until the new one is whole, and a link to it stays one."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)

    def fail() -> None:
        with new_file(link, replacing=True) as made:
            made.write_text("a part")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    before = target.read_text()
    with new_file(link, replacing=True) as made:
        made.write_text("new")

    assert (before, target.read_text(), link.readlink()) == ("old", "new", target)
    assert sorted(tmp_path.iterdir()) == [link, target]


@pytest.mark.parametrize("name", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, name: str):
    """A folder, a pipe or a device stays what it is."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(StoreUnusable, match="exists already"),
        new_file(tmp_path / name, replacing=True),
    ):
        pass


def test_a_folder_that_is_missing(tmp_path: Path):
    """It is not made."""
    missing = new_file(tmp_path / "none" / "target")
    with pytest.raises(StoreUnusable, match=r"cannot write .*No such file"), missing:
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path: Path, code: int):
    """It is told apart from what cannot be written at all."""
    with pytest.raises(StoreFull, match="no room"), new_file(tmp_path / "target"):
        raise OSError(code, os.strerror(code))


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The file is renamed there."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    with new_file(tmp_path / "target") as made:
        made.write_text("all of it")

    assert (tmp_path / "target").read_text() == "all of it"
