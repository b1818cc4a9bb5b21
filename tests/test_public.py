"""The public names: all there, lazily, and no others by accident."""

import subprocess
import sys

import pytest

import tumorscope


@pytest.mark.parametrize("name", tumorscope.__all__)
def test_each_name_is_there_and_documented(name):
    value = getattr(tumorscope, name)
    assert value.__doc__
    assert name in dir(tumorscope)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'reed'.*read"):
        _ = tumorscope.reed


def test_importing_the_package_imports_no_library():
    script = "import sys, tumorscope; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"numpy", "cv2", "onnxruntime", "typer"}.isdisjoint(run.stdout.split())
