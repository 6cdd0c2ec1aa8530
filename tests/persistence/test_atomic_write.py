from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.regular_files import read_regular_file, writable_target

posix = pytest.mark.skipif(os.name != "posix", reason="is about POSIX file systems")


def write(path, content=b"new", **options):
    with atomic_write(path, **options) as file:
        file.write(content)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.write([b"new"])
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


# Permissions and symbolic links


@posix
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o400])
def test_a_file_keeps_its_permissions(tmp_path, permissions):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(permissions)
    write(path)
    assert mode(path) == permissions
    assert path.read_bytes() == b"new"


@posix
def test_a_private_file_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with atomic_write(path):
        (temporary,) = tmp_path.glob(".*.tmp")
        assert mode(temporary) == 0o600


@posix
def test_a_new_file_can_take_the_permissions_of_another(tmp_path):
    private = tmp_path / "private"
    private.touch(0o600)
    write(tmp_path / "new", permissions_of=private)
    assert mode(tmp_path / "new") == 0o600
    write(tmp_path / "other", permissions_of=tmp_path / "none")
    (tmp_path / "plain").touch()
    assert mode(tmp_path / "other") == mode(tmp_path / "plain")


@posix
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    real = tmp_path / "real"
    links = tmp_path / "links"
    real.mkdir()
    links.mkdir()
    (real / "file").write_bytes(b"old")
    (links / "first").symlink_to("second")
    (links / "second").symlink_to(real / "file")
    write(links / "first")
    assert (links / "first").is_symlink()
    assert (links / "second").is_symlink()
    assert not (real / "file").is_symlink()
    assert (real / "file").read_bytes() == b"new"
    assert names(real) == ["file"]


@posix
def test_the_missing_target_of_a_symbolic_link_is_made(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


# Targets that are not files


def special_files(tmp_path):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    return {
        "a directory": tmp_path / "directory",
        "a FIFO": tmp_path / "fifo",
        "a device": "/dev/null",
    }


@posix
def test_other_things_than_files_are_refused_before_the_block(tmp_path):
    for kind, path in special_files(tmp_path).items():
        with (
            pytest.raises(ValueError, match=f"{path} is {kind}"),
            atomic_write(path),
        ):
            pytest.fail("the block was entered")
    assert names(tmp_path) == ["directory", "fifo"]


@posix
def test_a_symbolic_link_to_a_fifo_is_refused(tmp_path):
    special_files(tmp_path)
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(ValueError, match="link is a FIFO"):
        writable_target(tmp_path / "link")


@posix
def test_a_loop_of_symbolic_links_is_an_error(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match=r"one|two"):
        write(tmp_path / "one")


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        write(tmp_path / "none" / "file")


@posix
def test_reading_something_other_than_a_file_is_refused(tmp_path):
    for kind, path in special_files(tmp_path).items():
        with pytest.raises(ValueError, match=f"{path} is {kind}"):
            read_regular_file(path)
    with pytest.raises(FileNotFoundError, match="none"):
        read_regular_file(tmp_path / "none")


# Temporary files of killed writers

KILLED = """
import os, signal, sys
from sk_rqvae._persistence.atomic import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path):
    done = subprocess.run([sys.executable, "-c", KILLED, path], timeout=60)
    assert done.returncode < 0


@posix
def test_files_of_a_killed_writer_are_removed_by_the_next_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    killed_writer(path)
    assert len(names(tmp_path)) == 2
    assert path.read_bytes() == b"old"
    write(path)
    assert names(tmp_path) == ["file"]


@posix
def test_temporary_files_of_living_writers_and_of_others_stay(tmp_path):
    path = tmp_path / "file"
    others = [
        ".file.tmp",
        ".file.0123456789abcdeg.tmp",
        ".file.0123456789abcdef.tmp.bak",
        ".other.0123456789abcdef.tmp",
        "file.0123456789abcdef.tmp",
    ]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".file.0123456789abcdef.tmp").mkdir()
    (tmp_path / ".file.0123456789abcde0.tmp").symlink_to(path)
    with atomic_write(path) as first:
        first.write(b"first")
        write(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    kept = [*others, ".file.0123456789abcdef.tmp", ".file.0123456789abcde0.tmp"]
    assert names(tmp_path) == sorted([*kept, "file"])


@posix
def test_a_writer_whose_temporary_file_was_removed_starts_again(tmp_path, monkeypatch):
    from sk_rqvae._persistence import atomic

    flock, removed = atomic.fcntl.flock, []

    def late(descriptor, operation):
        """Another writer finds the file before its lock is taken."""
        for temporary in tmp_path.glob(".*.tmp"):
            if not removed:
                removed.append(temporary)
                temporary.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    write(tmp_path / "file")
    assert removed
    assert names(tmp_path) == ["file"]
