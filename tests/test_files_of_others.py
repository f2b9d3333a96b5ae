"""What a user has is kept, and what is named strangely is read or told in a line."""

import os
from pathlib import Path

import pytest
from cases import network
from file_cases import LAYERED
from program import call

from direp.program.commands.plot import named
from direp.program.network_file import save_network
from direp.runs import holder_of, unused, write_new


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    save_network(path, network("projected", "signed", LAYERED))
    return path


@pytest.mark.parametrize("take", [
    lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere"), lambda path: path.mkdir(),
])  # fmt: skip
@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_stays_what_it_is(take, links, tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError

    if not links:  # as on file systems that have none
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "net.cir"
    take(path)
    before = path.lstat()
    with pytest.raises(FileExistsError):
        write_new(path, "other")
    assert path.lstat() == before
    write_new(tmp_path / "new.cir", "new")
    assert (tmp_path / "new.cir").read_text() == "new"
    assert {entry.name for entry in tmp_path.iterdir()} == {"net.cir", "new.cir"}


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("mine"), lambda path: path.symlink_to("victim"), os.mkfifo, lambda path: path.mkdir(),
])  # fmt: skip
def test_what_stands_beside_a_new_file_stays(make, saved, tmp_path):
    (tmp_path / "victim").write_text("mine")
    beside = tmp_path / "net.graphml.part"
    make(beside)
    before = beside.lstat()
    assert call("export", saved, tmp_path / "net.graphml", "--quiet") == (0, "", "")
    assert beside.lstat() == before
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_that_has_come_meanwhile_is_kept(saved, tmp_path, monkeypatch):
    """While the network is read, another process writes there."""
    path, look = tmp_path / "net.graphml", Path.exists
    path.write_text("mine")
    monkeypatch.setattr(Path, "exists", lambda self: self != path and look(self))
    code, _, err = call("export", saved, path)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already" in err
    assert path.read_text() == "mine"


def test_a_link_that_leads_nowhere_is_no_free_name(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert not unused(tmp_path / "link")


def test_runs_have_names_that_can_be_shown(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert named([tmp_path / "loop", tmp_path / "a\nb", Path(os.fsdecode(b"/c\xff"))]) == ["loop", "a b", r"c\udcff"]


def test_a_page_of_a_path_that_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"r\xff")
    folder.mkdir()
    code, out, _ = call("report", folder, "--out", tmp_path / "page")
    assert code == 3
    assert r"r\udcff is no run folder" in Path(out.strip()).read_text()


def test_a_lock_that_is_no_file_is_nobodys(tmp_path):
    (tmp_path / "lock").mkdir()
    assert holder_of(tmp_path) is None
