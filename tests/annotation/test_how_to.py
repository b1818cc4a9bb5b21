"""The page for annotating in Python does what it says."""

import doctest


def test_the_page_runs(repository):
    page = repository / "docs" / "how-to" / "annotate-in-python.md"
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 20
    assert found.failed == 0
