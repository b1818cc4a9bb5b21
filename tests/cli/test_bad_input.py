"""Bad input: one line with file, finding and remedy; the rest of the batch is done; nothing half-written."""

import gzip
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import cv2
import nibabel
import numpy as np
import pydicom
import pytest


def nifti(path, array):
    nibabel.save(nibabel.Nifti1Image(np.asarray(array, np.float32), np.eye(4)), path)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def dicom(path, pixels, z=0, *, series="1.2.3", position=None, drop=()):
    """One MR slice; ``drop`` names attributes to leave out."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{z + 1}"
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, "1.2", "MR"
    data.SeriesNumber, data.InstanceNumber = int(series.split(".")[-1]), z + 1
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [0, 0, 5.0 * (z if position is None else position)]
    data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 5
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    for name in drop:
        delattr(data, name)
    data.save_as(path, enforce_file_format=True)
    return path


def zero_bytes(folder, head):
    (folder / "bad.jpg").write_bytes(b"")


def truncated_jpeg(folder, head):
    (folder / "bad.jpg").write_bytes(cv2.imencode(".jpg", head)[1].tobytes()[:900])


def truncated_png(folder, head):
    (folder / "bad.png").write_bytes(cv2.imencode(".png", head)[1].tobytes()[:2000])


def truncated_dicom(folder, head):
    path = dicom(folder / "bad.dcm", head)
    path.write_bytes(path.read_bytes()[:-3000])


def truncated_gzip(folder, head):
    path = nifti(folder / "bad.nii.gz", np.stack([head] * 4, axis=-1))
    path.write_bytes(path.read_bytes()[:-2000])


def text_named_jpg(folder, head):
    (folder / "bad.jpg").write_text("dear colleague, please find the scan attached")


def one_pixel(folder, head):
    cv2.imwrite(str(folder / "bad.png"), np.full((1, 1), 7, np.uint8))


def one_row(folder, head):
    cv2.imwrite(str(folder / "bad.png"), np.arange(200, dtype=np.uint8)[None])


def pixel_bomb(folder, head):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))


def all_black(folder, head):
    cv2.imwrite(str(folder / "bad.jpg"), np.zeros((96, 96), np.uint8))


def all_white(folder, head):
    cv2.imwrite(str(folder / "bad.jpg"), np.full((96, 96), 255, np.uint8))


def nothing_but_nan(folder, head):
    nifti(folder / "bad.nii.gz", np.full((40, 40, 4), np.nan))


def four_dimensions(folder, head):
    nifti(folder / "bad.nii.gz", np.random.default_rng(0).random((40, 40, 6, 3)))


def no_pixel_data(folder, head):
    dicom(folder / "bad.dcm", head, drop=("PixelData",))


def unreadable_folder(folder, head):
    (folder / "bad").mkdir()
    (folder / "bad").chmod(0)


def a_name_of_no_file(folder, head):
    (folder / "bad.png").symlink_to(folder / "gone.png")


BAD = [
    zero_bytes, truncated_jpeg, truncated_png, truncated_dicom, truncated_gzip, text_named_jpg, one_pixel, one_row,
    pixel_bomb, all_black, all_white, nothing_but_nan, four_dimensions, no_pixel_data, a_name_of_no_file,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_one_line_the_rest_done_and_3(spoil, predict, good, tiny, tmp_path):
    spoil(good, tiny.head(seed=9))
    answer, rows = predict(good)
    assert answer.code == 3
    assert [row["status"] for row in rows if row["id"] in ("a", "b")] == ["ok", "ok"]
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 1
    assert failed[0]["id"] == "bad"
    assert failed[0]["decision"] == failed[0]["probability"] == ""
    assert answer.lines == [f"tumorscope: {failed[0]['error']}"]
    assert "bad" in failed[0]["error"]
    assert "; " in failed[0]["error"], "the remedy follows a semicolon"
    assert "internal error" not in failed[0]["error"]
    whole(tmp_path / "out", failed=1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder(predict, good, tiny, tmp_path):
    unreadable_folder(good, tiny.head())
    try:
        answer, rows = predict(good)
    finally:
        (good / "bad").chmod(0o700)
    assert answer.code == 3
    assert sum(row["status"] == "ok" for row in rows) == 2
    assert len(answer.lines) == 1


def test_all_of_them_at_once(predict, good, tiny, tmp_path):
    for spoil in BAD:
        folder = good / spoil.__name__
        folder.mkdir()
        spoil(folder, tiny.head(seed=9))
    answer, rows = predict(good)
    assert answer.code == 3
    assert sum(row["status"] == "ok" for row in rows) == 2
    assert sum(row["status"] == "failed" for row in rows) == len(answer.lines) == len(BAD)
    whole(tmp_path / "out", failed=len(BAD))


def whole(out, failed):
    """Nothing in a result folder is half-written or left over, and pictures decode."""
    names = [path.name for path in out.rglob("*")]
    assert not [name for name in names if name.startswith(".") or name.endswith((".tmp", ".part"))]
    for path in out.glob("*/*.png"):
        assert cv2.imread(str(path)) is not None
    assert (out / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    rows = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",failed," in row for row in rows) == failed


class TestVolumes:
    def test_some_nan_and_inf_leave_a_finite_answer(self, predict, tiny, tmp_path):
        array = np.stack([tiny.head(seed=z) for z in range(6)], axis=-1).astype(np.float32)
        array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
        nifti(tmp_path / "v.nii.gz", array)
        answer, rows = predict(tmp_path / "v.nii.gz")
        if rows[0]["status"] == "ok":
            assert 0 <= float(rows[0]["probability"]) <= 1
            assert "NaN" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        else:
            assert answer.code == 2
            assert "NaN" in rows[0]["error"]

    def test_two_series_in_one_folder_are_two_scans(self, predict, tiny, tmp_path):
        folder = tmp_path / "two"
        folder.mkdir()
        for series in (4, 5):
            for z in range(4):
                dicom(folder / f"{series}_{z}.dcm", tiny.head(seed=z), z, series=f"1.2.{series}")
        answer, rows = predict(folder)
        assert answer.code == 0
        assert len(rows) == 2
        assert len({row["id"] for row in rows}) == 2
        assert len(list((tmp_path / "out" / "masks").iterdir())) == 2

    @pytest.mark.parametrize(
        "positions", [(0, 1, 2, 4, 5), (0, 1, 1, 2, 3)], ids=["missing slice", "same position twice"]
    )
    def test_gaps_and_doubles_are_told(self, positions, predict, tiny, tmp_path):
        folder = tmp_path / "series"
        folder.mkdir()
        for number, position in enumerate(positions):
            dicom(folder / f"{number}.dcm", tiny.head(seed=number), number, position=position)
        _, rows = predict(folder)
        assert len(rows) == 1
        assert rows[0]["status"] == "ok" or "; " in rows[0]["error"]
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        told = rows[0]["error"] or page
        assert "slice" in told or "position" in told


class TestNames:
    def test_other_scripts_and_long_names(self, predict, tiny, tmp_path):
        folder = tmp_path / "Ünïcödé 脳 scans"
        folder.mkdir()
        names = ["脳 スキャン (1).png", "é" * 120 + ".png", "a,b;c'\"d.png", "x" * 250 + ".png"]
        for number, name in enumerate(names):
            (folder / name).write_bytes(cv2.imencode(".png", tiny.head(seed=number))[1].tobytes())
        answer, rows = predict(folder)
        assert answer.code == 0
        assert answer.err == ""
        assert len(rows) == 4
        for row in rows:
            assert (tmp_path / "out" / "masks" / f"{row['id']}.png").exists()
            assert (tmp_path / "out" / "overlays" / f"{row['id']}.png").exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are no UTF-8")
    def test_a_name_that_is_no_text(self, predict, tiny, tmp_path):
        path = os.fsencode(tmp_path) + b"/caf\xe9.png"
        with open(path, "wb") as file:
            file.write(cv2.imencode(".png", tiny.head())[1].tobytes())
        answer, rows = predict(os.fsdecode(path))
        assert answer.code == 0
        assert rows[0]["decision"] == "no_tumor"


class TestPlaces:
    def test_an_output_that_is_a_file(self, call, good, tiny_bundle, tmp_path):
        (tmp_path / "out").write_text("mine")
        answer = call("predict", good, "-o", tmp_path / "out", "--model", tiny_bundle)
        assert answer.code == 2
        assert len(answer.lines) == 1
        assert "out: is a file, not a folder; give another -o" in answer.err

    def test_an_output_below_a_file(self, call, good, tiny_bundle, tmp_path):
        (tmp_path / "file").write_text("mine")
        answer = call("predict", good, "-o", tmp_path / "file" / "out", "--model", tiny_bundle)
        assert answer.code == 2
        assert len(answer.lines) == 1
        assert "cannot be written" in answer.err

    @pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a place that nobody can write to")
    def test_an_output_that_nobody_can_write(self, call, good, tiny_bundle):
        answer = call("predict", good, "-o", "/proc/results", "--model", tiny_bundle)
        assert answer.code == 2
        assert len(answer.lines) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes that raises")
    def test_a_disk_that_fills_up(self, good, tiny, tiny_bundle, tmp_path):
        for number in range(30):
            cv2.imwrite(str(good / f"{number}.png"), tiny.head(seed=number))
        script = (
            "import resource, sys\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
            "from tumorscope.cli import main\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        arguments = ["predict", str(good), "-o", str(tmp_path / "out"), "--model", str(tiny_bundle)]
        run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
        assert run.returncode == 2
        assert len(run.stderr.splitlines()) == 1, run.stderr
        assert "cannot be written" in run.stderr
        names = [path.name for path in (tmp_path / "out").rglob("*")]
        assert not [name for name in names if name.startswith(".")]

    @pytest.mark.parametrize("given", ["nowhere.jpg", "*.nothing"])
    def test_inputs_that_are_not_there(self, given, predict, tmp_path):
        answer, _ = predict(tmp_path / given)
        assert answer.code == 2
        assert len(answer.lines) == 1
        assert given in answer.err

    def test_a_folder_without_scans(self, predict, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("none here")
        answer, _ = predict(tmp_path / "empty")
        assert answer.code == 2
        assert len(answer.lines) == 1
        assert "no scan" in answer.err
        assert not (tmp_path / "out").exists()


class TestModels:
    @pytest.mark.parametrize("content", [b"", b"not a model", gzip.compress(b"x" * 50, mtime=0)])
    def test_a_model_that_is_no_bundle(self, content, call, good, tmp_path):
        (tmp_path / "m.onnx").write_bytes(content)
        answer = call("predict", good, "-o", tmp_path / "out", "--model", tmp_path / "m.onnx")
        assert answer.code == 2
        assert len(answer.lines) == 1
        assert "m.onnx: is not a tumorscope bundle" in answer.err
        assert not (tmp_path / "out").exists()

    def test_a_newer_bundle(self, call, good, tiny, tmp_path):
        import onnx

        model = tiny.tiny_model()
        onnx.helper.set_model_props(model, {"tumorscope": '{"schema_version": 9}'})
        onnx.save(model, tmp_path / "m.onnx")
        answer = call("predict", good, "-o", tmp_path / "out", "--model", tmp_path / "m.onnx")
        assert answer.code == 2
        assert "schema version 9" in answer.err
        assert "upgrade" in answer.err
        assert len(answer.lines) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_ctrl_c_keeps_the_finished_rows(tiny, tiny_bundle, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    image = cv2.resize(tiny.head(), None, fx=8, fy=8)
    for number in range(400):
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tumorscope", "predict", str(folder), "-o", str(out), "--model", str(tiny_bundle)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("masks/*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 3
    assert len(errors.splitlines()) == 1
    assert "Ctrl-C" in errors
    rows = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert 5 <= len(rows) - 1 < 400
    assert len(list(out.glob("masks/*.png"))) == len(rows) - 1
    whole(out, failed=0)
