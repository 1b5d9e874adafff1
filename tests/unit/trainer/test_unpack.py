"""Archives: what is in them comes out, and nothing outside of their folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from ganger_trainer.failures import UserError
from ganger_trainer.fetch.unpack import Unpacking, is_archive


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    return info, content


def tar(path: Path, *members, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def unpack(archive: Path, folder: Path, max_bytes: int = 1 << 20) -> dict[str, bytes]:
    Unpacking("corpus", folder, max_bytes, lambda: None).unpack(archive)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def inside(tmp_path):
    return tmp_path / "work" / "inside"


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_the_files_of_a_tar_come_out(tmp_path, inside, ending):
    mode = {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(ending, "w:gz")
    archive = tar(tmp_path / f"a.{ending}", member("./x/a.txt", b"a"), member("run", b"b", mode=0o4755), mode=mode)

    assert is_archive(archive.name)
    assert {"x/a.txt": b"a", "run": b"b"} == unpack(archive, inside)
    assert (0o644, 0o755) == tuple((inside / name).stat().st_mode & 0o7777 for name in ("x/a.txt", "run"))


def test_the_files_of_a_zip_come_out(tmp_path, inside):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/", "")
        archive.writestr("x/a.txt", "a")

    assert {"x/a.txt": b"a"} == unpack(tmp_path / "a.zip", inside)


def test_links_that_stay_inside_are_kept(tmp_path, inside):
    archive = tar(
        tmp_path / "a.tar.gz",
        member("x/l", kind=tarfile.SYMTYPE, link="../y/a.txt"),
        member("y/a.txt", b"a"),
        member("hard", kind=tarfile.LNKTYPE, link="y/a.txt"),
    )

    assert {"x/l": b"a", "y/a.txt": b"a", "hard": b"a"} == unpack(archive, inside)


CLIMBING = {
    "an absolute path": [member("/tmp/evil", b"x")],
    "a climbing path": [member("x/../../evil", b"x")],
    "an absolute link": [member("l", kind=tarfile.SYMTYPE, link="/etc/passwd")],
    "a climbing link": [member("l", kind=tarfile.SYMTYPE, link="../../evil")],
    "a file below a link": [member("l", kind=tarfile.SYMTYPE, link=".."), member("l/evil", b"x")],
    "a link below a link": [
        member("d/l", kind=tarfile.SYMTYPE, link="."),
        member("d/l/m", kind=tarfile.SYMTYPE, link="."),
    ],
    "two links that climb together": [
        member("x/y/up", kind=tarfile.SYMTYPE, link="../.."),
        member("out", kind=tarfile.SYMTYPE, link="x/y/up/.."),
    ],
    "a hard link to the outside": [member("l", kind=tarfile.LNKTYPE, link="../evil")],
    "a hard link to nothing": [member("l", kind=tarfile.LNKTYPE, link="none")],
    "a device": [member("d", kind=tarfile.CHRTYPE)],
    "a pipe": [member("d", kind=tarfile.FIFOTYPE)],
    "a file in the place of a folder": [member("d/a", b"x"), member("d", b"x")],
    "a file below a file": [member("d", b"x"), member("d/a", b"x")],
}


@pytest.mark.parametrize("members", CLIMBING.values(), ids=CLIMBING)
def test_what_leaves_its_folder_or_is_no_file_is_refused(tmp_path, inside, members):
    archive = tar(tmp_path / "a.tar.gz", *members)
    (tmp_path / "evil").write_text("mine")

    with pytest.raises(UserError) as found:
        unpack(archive, inside)

    assert "DataInvalid" == found.value.reason
    assert "mine" == (tmp_path / "evil").read_text()
    assert {"a.tar.gz", "evil", "work"} == {path.name for path in tmp_path.iterdir()}
    assert ["inside"] == [path.name for path in (tmp_path / "work").iterdir()]


def test_a_bomb_is_stopped_at_its_bound(tmp_path, inside):
    archive = tar(tmp_path / "a.tar.gz", member("zeros", b"\0" * 50_000_000))

    with pytest.raises(UserError, match="maxSize allows 1048576") as found:
        unpack(archive, inside)

    assert "DataTooLarge" == found.value.reason
    assert (inside / "zeros").stat().st_size <= 1 << 20


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip", "a.tar.xz"])
def test_what_is_no_archive_is_told(tmp_path, inside, name):
    (tmp_path / name).write_bytes(b"<html>sorry</html>")

    with pytest.raises(UserError, match="the archive is damaged"):
        unpack(tmp_path / name, inside)


def test_a_cut_archive_is_told(tmp_path, inside):
    archive = tar(tmp_path / "a.tar.gz", member("a", bytes(range(256)) * 4000))
    archive.write_bytes(archive.read_bytes()[:-2000])

    with pytest.raises(UserError, match="the archive is damaged"):
        unpack(archive, inside)
