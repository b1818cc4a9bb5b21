"""A scan is dropped, predicted, corrected, saved, opened again and exported; the exported mask is what was drawn."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.annotation import rle
from tumorscope.inference.postprocess import measure


def discs(shape: tuple[int, int], row: int, column: int, radius: int) -> NDArray[np.bool_]:
    """What the engine of these tests draws around a click."""
    canvas = np.zeros(shape, np.uint8)
    cv2.circle(canvas, (column, row), radius, 1, -1)
    return canvas.astype(bool)


def brushed(shape: tuple[int, int], start: tuple[int, int], end: tuple[int, int], size: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies within half the brush of a line, by the distance from a thousand points of it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    line = np.linspace(start, end, 1001)
    nearest = np.full(shape, np.inf)
    for row, column in line:
        nearest = np.minimum(nearest, np.hypot(rows - row, columns - column))
    return nearest <= size / 2


def test_drop_predict_two_clicks_undo_brush_save_reload_export(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    case = watched.open(scans["tumor"])
    shape = tuple(case["shape"])
    expected = rle.decode(case["prediction"]["mask"])
    assert expected.any(), "the phantom's tumour was not found: the test below would start from nothing"

    row, column = (int(place) for place in np.argwhere(expected)[0])  # the uppermost pixel: the disc reaches beyond

    page.keyboard.press("p")
    watched.click(row, column)
    watched.click(row + 4, column + 4)
    page.keyboard.press("Control+z")
    page.get_by_text("Undone: positive click").wait_for()
    page.keyboard.press("d")
    page.keyboard.press("[")  # 7 pixels: no centre lies exactly at half of that from a pixel
    watched.drag((60, 20), (90, 50))
    expected |= discs(shape, row, column, 9) | brushed(shape, (60, 20), (90, 50), 7)

    stored = watched.save()
    assert [edit["kind"] for edit in stored["lesions"][0]["edits"]] == ["engine", "brush"]
    assert stored["lesions"][0]["prompts"][0]["prompts"]["points"] == [{"y": row, "x": column, "positive": True}]
    page.reload()
    page.get_by_text("Saved, revision 1").wait_for()
    exported = cv2.imread(str(watched.download("PNG mask")), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(exported)) == {0, 255}
    np.testing.assert_array_equal(exported > 0, expected)


def test_the_measurements_are_the_servers(watched: Any, scans: dict[str, Path]) -> None:
    watched.open(scans["tumor"])
    watched.page.keyboard.press("d")
    watched.drag((20, 20), (40, 90))
    stored = watched.save()
    truth = measure(np.logical_or.reduce([rle.decode(lesion["mask"]) for lesion in stored["lesions"]]))
    shown = watched.page.locator(".numbers tr").evaluate_all("rows => rows.map(row => row.lastChild.textContent)")
    regions, area, diameter = (float(text.split("\u00a0")[0].replace("\u202f", "")) for text in shown[1:4])
    assert regions == truth.lesions
    assert area == truth.area_px
    assert diameter == pytest.approx(truth.diameter_px, rel=0.005)


def test_tools_candidates_and_lesions_are_one_history(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    case = watched.open(scans["healthy"])
    shape = tuple(case["shape"])
    page.keyboard.press("l")
    page.get_by_label("Name of the lesion").last.fill("left one")
    page.keyboard.press("Tab")
    page.locator("canvas.slice").first.focus()
    page.keyboard.press("p")
    watched.click(50, 60)
    page.keyboard.press("2")
    assert page.locator(".candidate").nth(1).get_attribute("aria-pressed") == "true"
    page.keyboard.press("e")
    page.keyboard.press("[")
    watched.drag((50, 60), (50, 60))
    page.keyboard.press("l")
    page.keyboard.press("b")
    with page.expect_response("**/candidates"):
        watched.drag((100, 100), (120, 130))
    page.wait_for_selector(".busy", state="hidden")
    stored = watched.save()
    names = [lesion["name"] for lesion in stored["lesions"]]
    first, second = (rle.decode(lesion["mask"]) for lesion in stored["lesions"][-2:])
    assert names[-2] == "left one"
    hole = brushed(shape, (50, 60), (50, 60), 7)
    np.testing.assert_array_equal(first, discs(shape, 50, 60, 6) & ~hole)
    box = np.zeros(shape, bool)
    box[100:121, 100:131] = True
    np.testing.assert_array_equal(second, box)
    assert [edit["kind"] for edit in stored["lesions"][-2]["edits"]] == ["engine", "candidate", "erase"]

    steps = 0
    while not page.get_by_role("button", name="Undo").is_disabled():
        page.keyboard.press("Control+z")
        steps += 1
    assert steps == 7, "add, name, click, candidate, eraser, add, box"
    assert page.locator(".lesion").count() == len(names) - 2
    for _ in range(steps):
        page.keyboard.press("Control+y")
    again = watched.save()
    assert [lesion["mask"] for lesion in again["lesions"]] == [lesion["mask"] for lesion in stored["lesions"]]


def test_a_negative_click_takes_away_and_a_refusal_is_said_in_one_line(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    case = watched.open(scans["healthy"])
    shape = tuple(case["shape"])
    for _ in range(page.locator(".lesion").count()):
        page.locator(".lesion").first.get_by_role("button", name="Delete").click()
    watched.allowed.add(422)
    page.keyboard.press("n")
    watched.click(80, 80)
    message = page.get_by_role("alert").get_by_text("nothing says where the lesion is")
    message.wait_for()
    page.keyboard.press("p")
    watched.click(80, 80)
    page.keyboard.down("Shift")  # the opposite of the tool
    watched.click(80, 92)
    page.keyboard.up("Shift")
    stored = watched.save()
    expected = discs(shape, 80, 80, 9) & ~discs(shape, 80, 92, 9)
    np.testing.assert_array_equal(rle.decode(stored["lesions"][0]["mask"]), expected)


def test_a_click_away_from_the_prediction_is_another_lesion(watched: Any, scans: dict[str, Path]) -> None:
    case = watched.open(scans["tumor"])
    shape = tuple(case["shape"])
    predicted = rle.decode(case["prediction"]["mask"])
    count = watched.page.locator(".lesion").count()
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    far = min(
        ((row, column) for row in (20, shape[0] - 21) for column in (20, shape[1] - 21)),
        key=lambda place: -np.hypot(rows - place[0], columns - place[1])[predicted].min(),
    )
    watched.page.keyboard.press("p")
    watched.click(*far)
    stored = watched.save()
    assert len(stored["lesions"]) == count + 1
    np.testing.assert_array_equal(rle.decode(stored["lesions"][-1]["mask"]), discs(shape, *far, 9))
    union = np.logical_or.reduce([rle.decode(lesion["mask"]) for lesion in stored["lesions"][:-1]])
    np.testing.assert_array_equal(union, predicted)


def test_zoom_and_pan_do_not_move_what_is_drawn(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    case = watched.open(scans["healthy"])
    for _ in range(page.locator(".lesion").count()):
        page.locator(".lesion").first.get_by_role("button", name="Delete").click()
    row, column = 61, 47
    page.mouse.move(*watched.at(row, column))
    page.mouse.wheel(0, -1500)  # the pixel stays under the pointer
    page.keyboard.press("d")
    for _ in range(20):
        page.keyboard.press("[")
    page.mouse.down()
    page.mouse.up()
    stored = watched.save()
    mask = rle.decode(stored["lesions"][0]["mask"])
    assert mask.shape == tuple(case["shape"])
    assert np.argwhere(mask).tolist() == [[row, column]]


def test_someone_else_saved_meanwhile(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["tumor"])
    page.keyboard.press("d")
    watched.drag((20, 20), (20, 40))
    stored = watched.save()
    body = {"revision": 1, "annotator": "someone else", "decision": "rejected", "note": "theirs", "lesions": []}
    request = urllib.request.Request(
        f"{watched.server.address}/api/v1/annotations/{stored['id']}",
        json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT",
    )  # fmt: skip
    urllib.request.urlopen(request).close()
    watched.allowed.add(409)
    watched.drag((30, 20), (30, 40))
    page.keyboard.press("Control+s")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("someone else saved revision 2").wait_for()
    dialog.get_by_role("button", name="Keep mine").click()
    page.get_by_text("Saved, revision 3").wait_for()
    kept = watched.api(f"/annotations/{stored['id']}")
    assert kept["decision"] == "open"
    assert len(kept["lesions"]) == len(stored["lesions"])


def test_unsaved_work_is_not_left_by_accident(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["tumor"])
    page.keyboard.press("d")
    watched.drag((20, 20), (20, 40))
    page.keyboard.press("u")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stay").click()
    page.locator(".unsaved").wait_for()
    page.keyboard.press("u")
    dialog.get_by_role("button", name="Save and leave").click()
    page.get_by_role("heading", name="Scans").wait_for()
    case = watched.api("/cases")["items"][0]
    assert case["annotation_id"] is not None


def test_accept_correct_reject(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    case = watched.open(scans["tumor"])
    page.keyboard.press("a")
    page.get_by_text("Accepted and saved.").wait_for()
    kept = watched.api(f"/cases/{case['id']}/annotations")[0]
    assert kept["decision"] == "accepted"
    union = np.logical_or.reduce([rle.decode(lesion["mask"]) for lesion in kept["lesions"]])
    np.testing.assert_array_equal(union, rle.decode(case["prediction"]["mask"]))
    assert {lesion["source"] for lesion in kept["lesions"]} == {"model"}

    page.keyboard.press("d")
    watched.drag((20, 20), (20, 40))
    page.keyboard.press("a")
    page.get_by_text("no longer the prediction's own").wait_for()
    page.keyboard.press("c")
    page.get_by_text("Saved as corrected.").wait_for()
    page.locator("#note").fill("motion")
    page.locator("canvas.slice").first.focus()
    page.keyboard.press("r")
    page.get_by_text("Rejected and saved.").wait_for()
    kept = watched.api(f"/annotations/{kept['id']}")
    assert (kept["decision"], kept["note"], kept["revision"]) == ("rejected", "motion", 3)
