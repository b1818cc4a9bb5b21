"""The command line as a whole: help, unknown commands, exit codes, one line for each error."""

import subprocess
import sys

import pytest

from tumorscope import __version__
from tumorscope.cli import COMMANDS

HEAVY = ("numpy", "scipy", "cv2", "skimage", "sklearn", "onnxruntime", "polars", "matplotlib", "pydicom", "nibabel")
HEAVIER = ("torch", "torchvision", "lightning", "monai", "timm", "transformers", "segmentation_models_pytorch")


def test_the_command_line_and_the_package_import_nothing_heavy():
    modules = ", ".join(target.partition(":")[0] for target in COMMANDS.values())
    script = f"import sys, tumorscope, tumorscope.cli, {modules}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert loaded.isdisjoint({*HEAVY, *HEAVIER, "pydantic", "jinja2"})


def test_help_lists_every_command(call):
    answer = call("--help")
    assert answer.code == 0
    assert all(f"  {name} " in answer.out for name in COMMANDS)


def test_no_arguments_mean_help(call):
    assert call().out == call("--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_what_it_does(command, call):
    answer = call(command, "--help")
    assert answer.code == 0
    assert f"tumorscope {command}" in answer.out


def test_version(call):
    assert call("--version").out == f"tumorscope {__version__}\n"


def test_as_a_module():
    run = subprocess.run([sys.executable, "-m", "tumorscope", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"tumorscope {__version__}"


def test_an_unknown_command_names_the_nearest_and_all(call):
    answer = call("predit")
    assert answer.code == 2
    assert answer.err.startswith("tumorscope: unknown command 'predit'; did you mean 'predict'? known: ")
    assert all(name in answer.err for name in COMMANDS)
    assert len(answer.lines) == 1


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["predict"], "INPUT"),
        (["predict", "x.jpg"], "--out"),
        (["predict", "x.jpg", "-o", "y", "--chanel", "1"], "--chanel"),
        (["predict", "x.jpg", "-o", "y", "--workers", "0"], "--workers"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments, finding, call):
    answer = call(*arguments)
    assert answer.code == 2
    assert len(answer.lines) == 1
    assert finding in answer.err
    assert "--help" in answer.err
    assert answer.out == ""


def test_an_error_of_ours_is_one_line_and_1(call, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.delenv("TUMORSCOPE_DEBUG", raising=False)
    monkeypatch.setattr("tumorscope.report.predictions.predict", broken)
    answer = call("predict", "x.jpg", "-o", "y")
    assert answer.code == 1
    assert answer.lines == [
        "tumorscope: internal error, RuntimeError: first line second line; "
        "set TUMORSCOPE_DEBUG=1 to see where, and report it"
    ]
    monkeypatch.setenv("TUMORSCOPE_DEBUG", "1")
    with pytest.raises(RuntimeError):
        call("predict", "x.jpg", "-o", "y")


def test_ctrl_c_before_there_are_results(call, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tumorscope.report.predictions.predict", stopped)
    answer = call("predict", "x.jpg", "-o", "y")
    assert answer.code == 3
    assert len(answer.lines) == 1
    assert "Ctrl-C" in answer.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that breaks as on POSIX")
def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m tumorscope predict --help | true"
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert run.stderr == ""
