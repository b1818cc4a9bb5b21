"""The work list: several scans at once, predicted in the background, found, filtered, exported."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any


def test_several_scans_are_predicted_in_the_background_and_found(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    page.get_by_text("Drop a scan here").wait_for()
    not_a_scan = watched.server.workspace.parent / "notes.txt"
    not_a_scan.write_text("no scan")
    watched.drop(*scans.values(), not_a_scan)
    page.get_by_role("alert").get_by_text("notes.txt").wait_for()
    page.get_by_text("3 predictions done.").wait_for()
    assert page.locator(".card").count() == 3
    assert page.locator(".card .chip").count() == 3
    thumbnails = page.locator(".card img")
    assert thumbnails.evaluate_all("images => images.every(one => one.complete && one.naturalWidth > 0)")

    page.get_by_label("Search by name").fill("heal")
    page.get_by_text("1 scan found").wait_for()
    assert page.locator(".card-name").all_text_contents() == ["healthy"]
    page.get_by_label("Search by name").fill("nothing")
    page.get_by_role("button", name="Clear the filters").click()
    page.get_by_text("3 scans", exact=True).wait_for()
    page.get_by_label("Sort by").select_option("Name")
    page.wait_for_function("() => document.querySelector('.card-name').textContent === 'healthy'")
    assert page.locator(".card-name").all_text_contents() == ["healthy", "tumor", "volume"]

    page.get_by_role("link", name="healthy").click()
    page.wait_for_selector(".verdict")
    page.keyboard.press("k")
    page.get_by_role("heading", name="tumor").wait_for()
    page.keyboard.press("j")
    page.get_by_role("heading", name="healthy").wait_for()


def test_reviewed_masks_leave_as_a_data_set(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["tumor"])
    page.keyboard.press("c")
    page.get_by_text("Saved as corrected.").wait_for()
    page.keyboard.press("u")
    page.get_by_role("button", name="Corrected").click()
    page.get_by_text("1 scan found").wait_for()
    page.get_by_role("button", name="Masks").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        manifest = next(name for name in archive.namelist() if name.endswith("manifest.csv"))
        rows = list(csv.DictReader(io.StringIO(archive.read(manifest).decode())))
    assert [row["label"] for row in rows] == ["1"]


def test_chosen_scans_are_predicted_and_a_scan_is_deleted(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["healthy"])
    page.keyboard.press("u")
    page.get_by_label("Choose healthy").check()
    page.get_by_role("button", name="Predict them").click()
    page.get_by_text("1 prediction done.").or_(page.get_by_text("Every scan has")).first.wait_for()
    page.get_by_role("link", name="healthy").click()
    page.get_by_role("button", name="Delete this scan").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Drop a scan here").wait_for()
    assert watched.api("/cases")["total"] == 0
