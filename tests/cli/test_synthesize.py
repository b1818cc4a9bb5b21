"""`synthesize` on an untrained generator: what is written, how it is bound to real scans, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tumorscope.cli import main
from tumorscope.datasets import manifest, phantom, splits
from tumorscope.datasets.synthetic import DIGITS
from tumorscope.imaging.preparation import Preparation
from tumorscope.inference.bundle import Training
from tumorscope.inference.generator import Generator, GeneratorMetadata


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator of random weights and the manifest of thirty phantoms that it claims to have seen."""
    from tumorscope.models.diffusion import Denoiser
    from tumorscope.training.diffusion_export import to_onnx, write

    folder = tmp_path_factory.mktemp("run")
    table = manifest.load(phantom.write_dataset(folder / "heads", 30, seed=4, size=64), groups=False)
    table = table.with_columns(group=pl.col("id"), split=pl.Series(["train"] * 20 + ["val"] * 10))
    manifest.write(table, folder / "manifest.parquet")
    network = Denoiser(1, widths=(8, 12), depth=1, classes=2)
    network.out.weight.data.normal_(0, 0.1)
    facts = GeneratorMetadata(
        name="tiny",
        preparation=Preparation(size=32),
        largest_signal=0.95,
        smallest_signal=0.02,
        classes=("glioma", "none"),
        mean=0.3,
        spread=0.3,
        training=Training(fingerprint="f" * 64, scan_hashes=tuple(one[:DIGITS] for one in table["sha256"])),
    )
    write(to_onnx(network, 32, half=False), facts, folder / "model.onnx")
    return folder


def told(capsys: pytest.CaptureFixture) -> dict:
    return json.loads(capsys.readouterr().out)


def test_samples_say_what_they_are_and_are_bound(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "made"
    command = ["synthesize", "sample", str(run), "-o", str(out), "--count", "3", "--seed", "7", "--steps", "2"]
    assert main([*command, "--class", "glioma", "--json"]) == 0
    facts = told(capsys)
    assert facts["pictures"] == 3 and facts["model"] == "tiny@ffffffffffff" and facts["seeds"] == [7, 9]
    table = manifest.read(out / "manifest.parquet")
    made = table.filter(pl.col("synthetic"))
    assert made["id"].to_list() == ["tiny-glioma-7", "tiny-glioma-8", "tiny-glioma-9"]
    assert made["label"].to_list() == [1] * 3 and made["tumor_type"].to_list() == ["glioma"] * 3
    assert made["seed"].to_list() == [7, 8, 9] and set(made["model"]) == {"tiny@ffffffffffff"}
    assert table["group"].n_unique() == 1 and set(table["split"]) == {"train"} and table.height == 33
    splits.check(table)
    picture = Image.open(out / "images" / "tiny-glioma-8.png")
    assert picture.size == (32, 32) and picture.text == {
        "synthetic": "true", "model": "tiny@ffffffffffff", "seed": "8", "steps": "2",
    }  # fmt: skip
    alone = Generator.load(run).synthesizer.sample([8], steps=2, named="glioma")[0]
    assert np.array_equal(np.asarray(picture), np.rint(alone * 255).astype(np.uint8))
    assert main(command) == 2 and "holds samples already" in capsys.readouterr().err


def test_without_the_real_scans_there_is_no_manifest(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "alone.onnx").write_bytes((run / "model.onnx").read_bytes())
    command = ["synthesize", "sample", str(tmp_path / "alone.onnx"), "--count", "2", "--steps", "1", "--json"]
    assert main([*command, "-o", str(tmp_path / "made")]) == 0
    assert told(capsys)["manifest"] is None
    rows = pl.read_csv(tmp_path / "made" / "samples.csv")
    assert rows["synthetic"].all() and rows["path"][0] == "images/tiny-any-0.png" and rows["label"].null_count() == 2


def test_a_manifest_whose_test_scans_were_seen_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = manifest.read(run / "manifest.parquet").with_columns(split=pl.Series(["test"] * 5 + ["train"] * 25))
    manifest.write(table, tmp_path / "cut.parquet")
    command = ["synthesize", "sample", str(run), "-o", str(tmp_path / "made"), "--data", str(tmp_path / "cut.parquet")]
    assert main(command) == 2
    assert "saw scans of the part 'test'" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_lesion_comes_with_its_mask(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    healthy = manifest.read(run / "manifest.parquet").filter(pl.col("label") == 0)["path"][:2].to_list()
    command = ["synthesize", "inpaint", str(run), *healthy, "-o", str(tmp_path / "made"), "--steps", "2", "--json"]
    assert main(command) == 0
    assert told(capsys)["pictures"] == 2
    table = manifest.read(tmp_path / "made" / "manifest.parquet").filter(pl.col("synthetic"))
    assert set(table["mask_source"]) == {"synthetic"} and set(table["tumor_type"]) == {"glioma"}
    for row, path in zip(table.to_dicts(), healthy, strict=True):
        mask = np.asarray(Image.open(row["mask_path"])) > 0
        picture = np.asarray(Image.open(row["path"])) / 255
        before = Preparation(size=32).prepare(np.asarray(Image.open(path))).pixels
        assert mask.any() and np.abs(picture - before)[~mask].max() <= 0.51 / 255
        assert row["change"] == pytest.approx(np.abs(picture - before)[mask].mean(), abs=0.01)


def test_audit_finds_planted_copies(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Ten of twelve pictures are training scans, one of them mirrored."""
    table = manifest.read(run / "manifest.parquet")
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        square = Preparation(size=32).prepare(np.asarray(Image.open(table["path"][number]))).pixels
        square = square[:, ::-1] if number == 3 else square if number < 10 else rng.random((32, 32))
        Image.fromarray(np.rint(square * 255).astype(np.uint8)).save(folder / f"{number}.png")
    command = ["synthesize", "audit", str(run), "-o", str(tmp_path / "audit"), "--pictures", str(folder), "--json"]
    assert main(command) == 3
    facts = told(capsys)
    assert facts["copies"] == list(range(10)) and facts["KID against"] == "held-out real scans"
    assert facts["kid"]["features"] == "scout, pooled maps"
    assert "Closest pairs" in (tmp_path / "audit" / "report.html").read_text("utf-8")


def test_pictures_of_a_random_generator_are_no_copies(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["synthesize", "audit", str(run), "-o", str(tmp_path / "audit"), "--count", "6", "--steps", "2"]
    assert main([*command, "--json"]) == 0
    facts = told(capsys)
    assert facts["copying"]["pixels"]["copies"] == 0 and facts["kid"]["within_floor"] is not True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sampl", "x"], "did you mean 'sample'"),
        (["sample", "nowhere", "-o", "out"], "train a generator first"),
        (["sample", "RUN", "-o", "out", "--class", "gliom"], "did you mean 'glioma'"),
        (["inpaint", "RUN", "EMPTY", "-o", "out"], "no scans"),
        (["train", "resnet18", "EMPTY", "-o", "out"], "task 'classify'"),
        (["audit", "ALONE", "-o", "out"], "--data"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "model.onnx").write_bytes((run / "model.onnx").read_bytes())
    named = {"RUN": str(run), "EMPTY": "empty", "ALONE": "alone"}
    assert main(["synthesize", *(named.get(word, word) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error
