"""Many scans: in order, each failure alone, nothing half-written, whatever interrupts."""

import csv
import errno
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from tumorscope.errors import Exit, OutputError
from tumorscope.inference import batch
from tumorscope.inference.batch import AHEAD, Options, former, plan, predict_many, sweep
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.gate import GateResult
from tumorscope.inference.predictor import Predictor
from tumorscope.inference.table import COLUMNS, TABLE, Row, Table
from tumorscope.io import Item, discover

CONTRACT = (
    "id, path, status, probability, decision, uncertainty, gate, lesions, area_px, area_mm2, diameter_px, "
    "diameter_mm, volume_mm3, seconds, error"
)


class OpenGate:
    """Lets everything through; ``before`` is called first."""

    def __init__(self, before=lambda: None):
        self.before = before

    def judge(self, image, modality=None):
        self.before()
        return GateResult(passed=True, score=1.0, reason="")


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.load(tiny_bundle, threads=1)


@pytest.fixture
def scans(tiny, tmp_path):
    """Twelve PNG scans, every third with a blob."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(12):
        blob = (40, 30, 9) if number % 3 == 0 else None
        cv2.imwrite(str(folder / f"s{number:02}.png"), tiny.head(blob=blob, seed=number))
    return folder


def rows_of(out):
    with (out / TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def strays(out):
    """Files in a result folder that are neither table nor mask nor report."""
    named = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    return [name for name in named if name != TABLE and not name.startswith(("masks/", "overlays/", "report"))]


class TestResults:
    def test_the_table_keeps_the_contract(self, scans, bundle, tmp_path):
        out = tmp_path / "out"
        summary = predict_many(discover([scans]), Predictor(bundle, OpenGate()), out)
        assert ", ".join(COLUMNS) == CONTRACT
        assert (out / TABLE).read_text(encoding="utf-8").splitlines()[0] == CONTRACT.replace(", ", ",")
        rows = rows_of(out)
        assert [row["id"] for row in rows] == [f"s{number:02}" for number in range(12)]
        assert [row["decision"] for row in rows] == ["tumor", "no_tumor", "no_tumor"] * 4
        assert rows[0]["path"] == str(scans / "s00.png")
        assert rows[0]["area_mm2"] == ""
        assert float(rows[0]["area_px"]) > 100
        assert rows[1]["lesions"] == "0"
        assert all(row["status"] == "ok" and row["error"] == "" for row in rows)
        assert summary.exit_code == Exit.OK
        assert summary.decisions == {"tumor": 4, "no_tumor": 8}
        assert strays(out) == []

    def test_masks_are_0_and_255_on_the_input_size(self, scans, bundle, tmp_path):
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out")
        for number in range(12):
            mask = cv2.imread(str(tmp_path / "out" / "masks" / f"s{number:02}.png"), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (96, 80)
            assert set(np.unique(mask)) == ({0, 255} if number % 3 == 0 else {0})

    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_the_number_of_workers_changes_nothing(self, workers, scans, bundle, tmp_path):
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "a", Options(workers=1))
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "b", Options(workers=workers))
        one, two = ([{**row, "seconds": ""} for row in rows_of(tmp_path / name)] for name in ("a", "b"))
        assert one == two

    def test_order_holds_when_the_first_is_slowest(self, scans, bundle, tmp_path):
        first = threading.Event()

        def slow():
            if not first.is_set():
                first.set()
                time.sleep(0.4)

        predict_many(discover([scans]), Predictor(bundle, OpenGate(slow)), tmp_path / "out", Options(workers=3))
        assert [row["id"] for row in rows_of(tmp_path / "out")] == [f"s{number:02}" for number in range(12)]

    def test_only_a_bounded_number_is_in_flight(self, scans, bundle, tmp_path):
        drawn, ahead = [], []

        class Slow:
            def draw(self, item, scan, prediction):
                drawn.append(item.id)

            def add(self, row, picture):
                time.sleep(0.01)
                ahead.append(len(drawn) - len(ahead))

            def close(self, interrupted):
                pass

        items = discover([scans]) * 4
        predict_many(items, Predictor(bundle, OpenGate()), tmp_path / "out", Options(workers=2), [Slow()])
        assert len(ahead) == 48
        assert max(ahead) <= 2 * AHEAD + 1

    def test_no_masks_when_not_wanted(self, scans, bundle, tmp_path):
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out", Options(masks=False))
        assert [path.name for path in (tmp_path / "out").iterdir()] == [TABLE]

    def test_few_inputs_share_the_cores_in_one_run(self):
        workers, threads = plan(1)
        assert workers == 1
        assert plan(1000)[0] * plan(1000)[1] <= max(workers * threads, 1)
        assert plan(3, workers=7)[0] == 3


class TestFailures:
    def test_one_bad_scan_is_one_row(self, scans, bundle, tmp_path):
        (scans / "s03.png").write_bytes(b"")
        summary = predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out")
        rows = rows_of(tmp_path / "out")
        assert [row["status"] for row in rows].count("failed") == 1
        assert rows[3]["status"] == "failed"
        assert "s03.png" in rows[3]["error"]
        assert rows[3]["decision"] == rows[3]["probability"] == ""
        assert not (tmp_path / "out" / "masks" / "s03.png").exists()
        assert summary.exit_code == Exit.PARTIAL

    def test_only_bad_scans_are_nothing_usable(self, bundle, tmp_path):
        (tmp_path / "a.png").write_bytes(b"")
        summary = predict_many(discover([tmp_path / "a.png"]), Predictor(bundle, OpenGate()), tmp_path / "out")
        assert summary.exit_code == Exit.USAGE
        assert rows_of(tmp_path / "out")[0]["status"] == "failed"

    def test_an_error_of_ours_does_not_end_the_batch(self, scans, bundle, tmp_path):
        calls = iter(range(100))

        def trip():
            if next(calls) == 4:
                raise RuntimeError("a bug\nof two lines")

        predictor = Predictor(bundle, OpenGate(trip))
        summary = predict_many(discover([scans]), predictor, tmp_path / "out", Options(workers=1))
        assert (summary.ok, summary.failed) == (11, 1)
        assert "internal error, RuntimeError: a bug of two lines" in rows_of(tmp_path / "out")[4]["error"]

    def test_a_name_that_the_disk_refuses_fails_alone(self, scans, bundle, tmp_path):
        items = discover([scans])
        items[2] = Item("x" * 300, items[2].path, items[2].files)
        summary = predict_many(items, Predictor(bundle, OpenGate()), tmp_path / "out")
        assert (summary.ok, summary.failed) == (11, 1)


class TestFullDisk:
    def test_a_mask_that_does_not_fit_ends_the_batch_and_keeps_the_rows(self, scans, bundle, tmp_path, monkeypatch):
        written = []

        def full(path, mask, scan):
            if len(written) == 5:
                raise OutputError(f"{path}: cannot be written (no space)") from OSError(errno.ENOSPC, "no space")
            written.append(path)

        monkeypatch.setattr(batch, "write_mask", full)
        with pytest.raises(OutputError, match=r"s05\.png: cannot be written"):
            predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out", Options(workers=1))
        rows = rows_of(tmp_path / "out")
        assert [row["id"] for row in rows if row["status"] == "ok"] == [f"s{number:02}" for number in range(5)]
        assert strays(tmp_path / "out") == []

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes that raises")
    def test_a_table_cut_by_the_system_ends_with_a_whole_row(self, tmp_path):
        script = (
            "import resource, sys\n"
            "from pathlib import Path\n"
            "from tumorscope.errors import OutputError\n"
            "from tumorscope.inference.table import Row, Table\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "path = Path(sys.argv[1])\n"
            "with Table(path, path) as table:\n"
            "    for number in range(100):\n"
            "        try:\n"
            "            table.add(Row(f'scan{number}', 'é' * number, 'ok'))\n"
            "        except OutputError as error:\n"
            "            sys.exit(str(error))\n"
        )
        path = tmp_path / "t.csv"
        run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
        assert run.returncode == 1
        assert "cannot be written" in run.stderr
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        assert 10 < len(text.splitlines()) < 100
        assert all(line.count(",") == 14 for line in text.splitlines())

    def test_a_file_in_the_way(self, scans, bundle, tmp_path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(OutputError, match="is a file, not a folder"):
            former(tmp_path / "out")
        with pytest.raises(OutputError, match="cannot be written"):
            predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"


class TestInterruption:
    def test_ctrl_c_keeps_what_is_done(self, scans, bundle, tmp_path):
        before = signal.getsignal(signal.SIGINT)
        calls = iter(range(100))
        closed = []

        class Report:
            def draw(self, item, scan, prediction):
                return None

            def add(self, row, drawn):
                if next(calls) == 3:
                    signal.raise_signal(signal.SIGINT)

            def close(self, interrupted):
                closed.append(interrupted)

        items = discover([scans]) * 5
        summary = predict_many(items, Predictor(bundle, OpenGate()), tmp_path / "out", Options(workers=2), [Report()])
        rows = rows_of(tmp_path / "out")
        assert summary.interrupted
        assert summary.exit_code == Exit.PARTIAL
        assert 4 <= len(rows) == summary.ok <= 4 + 2 * AHEAD
        assert closed == ["Ctrl-C"]
        assert strays(tmp_path / "out") == []
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_second_ctrl_c_leaves_at_once_and_cleanly(self, scans, bundle, tmp_path):
        class Twice:
            def draw(self, item, scan, prediction):
                return None

            def add(self, row, drawn):
                for _ in range(2):
                    signal.raise_signal(signal.SIGINT)
                    time.sleep(0.05)  # the interpreter runs handlers between two of its steps

            def close(self, interrupted):
                pass

        with pytest.raises(KeyboardInterrupt):
            predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out", sinks=[Twice()])
        assert strays(tmp_path / "out") == []
        assert not (tmp_path / "out" / TABLE).exists()

    def test_from_another_thread(self, scans, bundle, tmp_path):
        found = []
        thread = threading.Thread(
            target=lambda: found.append(predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "o"))
        )
        thread.start()
        thread.join()
        assert found[0].ok == 12


class TestEarlierResults:
    def test_they_are_not_replaced_unasked(self, scans, bundle, tmp_path):
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), tmp_path / "out")
        with pytest.raises(OutputError, match=r"holds results already .*--overwrite"):
            former(tmp_path / "out")
        assert former(tmp_path / "out", overwrite=True) == [f"s{number:02}" for number in range(12)]
        assert former(tmp_path / "elsewhere") == []
        assert not (tmp_path / "elsewhere").exists()

    def test_masks_that_no_row_names_are_swept(self, scans, bundle, tmp_path):
        out = tmp_path / "out"
        predict_many(discover([scans]), Predictor(bundle, OpenGate()), out)
        (out / "masks" / "mine.png").write_bytes(b"kept")
        earlier = [*former(out, overwrite=True), "../../scans/s00"]
        predict_many(discover([scans])[:2], Predictor(bundle, OpenGate()), out)
        sweep(out, earlier)
        assert sorted(path.name for path in (out / "masks").iterdir()) == ["mine.png", "s00.png", "s01.png"]
        assert (scans / "s00.png").exists()


class TestTable:
    def test_odd_text_comes_back(self, tmp_path):
        path = tmp_path / TABLE
        texts = ['a,"b"', "two\nlines", "Ünïcödé 脳", "", " blank "]
        with Table(path, path) as table:
            for text in texts:
                table.add(Row(text, text, "ok", error=text))
        assert [row["id"] for row in rows_of(tmp_path)] == texts

    def test_undecodable_names_are_escaped(self, tmp_path):
        path = tmp_path / TABLE
        with Table(path, path) as table:
            table.add(Row("x", b"caf\xe9".decode("utf-8", "surrogateescape"), "ok"))
        assert rows_of(tmp_path)[0]["path"] == "caf\\udce9"

    @pytest.mark.parametrize(
        ("value", "text"),
        [(None, ""), (3, "3"), (0.0, "0"), (1.0, "1"), (0.123456789, "0.123457"), (1234567.5, "1234567.5")],
    )
    def test_numbers(self, value, text):
        assert Row("a", "b", "ok", probability=value).cells()[3] == text
