"""Unpacking what others packed: exact where it is honest, and nothing left where it is not."""

import io
import stat
import zipfile

import pytest

from tumorscope.annotation.archive import Limits, unpack
from tumorscope.errors import DataError, OutputError


def packed(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_files_come_out_as_they_went_in_and_hidden_ones_do_not(tmp_path):
    files = {"a/b/c.txt": b"1" * 3_000_000, "d.txt": b"", "__MACOSX/d.txt": b"x", ".DS_Store": b"x", "é ü.txt": b"2"}
    archive = packed(tmp_path / "a.zip", **files)
    found = unpack(archive, tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in found} == {
        name: content for name, content in files.items() if name[0] not in "._"
    }
    with archive.open("rb") as stream:
        assert len(unpack(stream, tmp_path / "again")) == 3


def link(path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


def twice(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/x.png", "1")
        archive.writestr("A/X.png", "2")
    return path


def encrypted(path):
    packed(path, a="x")
    content = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    path.write_bytes(content)
    return path


def cut(path):
    packed(path, a="x" * 1000)
    path.write_bytes(path.read_bytes()[:-30])
    return path


def damaged(path):
    packed(path, a=bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: packed(path, **{"../x": "1"}), "no path"),
        (lambda path: packed(path, **{"a/../../x": "1"}), "no path"),
        (lambda path: packed(path, **{"/etc/x": "1"}), "no path"),
        (lambda path: packed(path, **{"C:\\x": "1"}), "no path"),
        (lambda path: packed(path, **{"a\nb": "1"}), "no path"),
        (lambda path: packed(path, **{"/".join("a" * 20): "1"}), "no path"),
        (link, "link"),
        (twice, "twice"),
        (encrypted, "encrypted"),
        (cut, "no ZIP"),
        (damaged, "no ZIP"),
        (lambda path: packed(path, **{str(n): "1" for n in range(11)}), "members"),
        (lambda path: packed(path, a=bytes(2_000_001)), "unpacks"),
        (lambda path: packed(path, a=bytes(1_500_000)), "times its size"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_leaves_nothing(make, word, tmp_path):
    archive = make(tmp_path / "a.zip")
    limits = Limits(members=10, total=2_000_000, ratio=100, freely=1_000_000)
    with pytest.raises(DataError, match=word) as caught:
        unpack(archive, tmp_path / "out", limits)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_bytes_are_counted_whatever_the_archive_says_of_them(tmp_path):
    archive = packed(tmp_path / "a.zip", a=bytes(3_000_000))
    content = archive.read_bytes().replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "out", Limits(total=1_000_000))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(OutputError, match="holds something"):
        unpack(packed(tmp_path / "a.zip", a="1"), tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "x"


def test_what_is_no_zip_or_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no ZIP"):
        unpack(io.BytesIO(b"not a zip"), tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
