"""Usable by keyboard, by touch, in both themes: names, contrast, targets, and nothing from foreign hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

LEAST_CONTRAST = 4.5  # WCAG 2.2 AA, text
LEAST_TARGET = 44  # CSS pixels, for fingers

NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea, canvas")]
  .filter(one => one.checkVisibility() && !one.closest("[aria-hidden=true]"))
  .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.title))
  .map(one => one.outerHTML)"""

# Text whose colour stands out too little from what lies behind it, as far as that is a plain colour.
PALE = """least => {
  const channels = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(one => one / 255)
    .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(one).backgroundColor);
      if (a === 1 && r !== undefined) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter(one => one.checkVisibility({ opacityProperty: true }) && !one.closest(":disabled, .off, .pane"))
    .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
    .map(one => {
      const [a, b] = [light(channels(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
      return [Math.round(100 * (a + 0.05) / (b + 0.05)) / 100, one.textContent.trim().slice(0, 40)];
    })
    .filter(([contrast]) => contrast < least);
}"""

SMALL = """least => [...document.querySelectorAll("button, select, input:not([type=checkbox], [type=range])")]
  .filter(one => one.checkVisibility() && !one.closest(".notice"))
  .filter(one => {
    const { width, height } = one.getBoundingClientRect();
    return Math.min(width, height) < least - 0.5;
  })
  .map(one => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("place", ["list", "case"])
def test_everything_has_a_name_and_enough_contrast(watched: Any, scans: dict[str, Path], place: str) -> None:
    page = watched.page
    watched.open(scans["tumor"])
    if place == "list":
        page.keyboard.press("u")
        page.locator(".card").wait_for()
    assert page.evaluate(NAMELESS) == []
    for theme in ("dark", "light"):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.evaluate(PALE, LEAST_CONTRAST) == [], theme
        page.get_by_role("button", name="Dark or light").click()


def test_the_research_notice_stands_once(watched: Any, scans: dict[str, Path]) -> None:
    watched.open(scans["healthy"])
    assert watched.page.get_by_text("not a medical device").count() == 1


def test_keys_have_a_sheet_and_the_focus_goes_in_order(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["healthy"])
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    sheet.get_by_text("Positive click").wait_for()
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    page.get_by_role("link", name="tumorscope").focus()
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.closest('.topbar, .case-head, .toolbar, .stage, .side')?.className")
        )
    parts = list(dict.fromkeys(order))
    assert parts[:5] == ["topbar", "case-head", "toolbar", "stage", "side"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_key_in_a_field_is_text(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["healthy"])
    page.locator("#note").focus()
    page.keyboard.type("a crab")
    assert page.locator("#note").input_value() == "a crab"
    assert watched.api("/cases")["items"][0]["review"] == "open"


def test_fingers_click_pinch_and_find_their_targets(tablet: Any, scans: dict[str, Path]) -> None:
    page = tablet.page
    tablet.open(scans["tumor"])
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    assert page.evaluate(SMALL, LEAST_TARGET) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 820
    page.get_by_role("button", name="Positive click: the lesion is here").tap()
    with page.expect_response("**/candidates"):
        page.touchscreen.tap(*tablet.at(40, 50))
    page.wait_for_selector(".busy", state="hidden")
    [point] = tablet.save()["lesions"][-1]["prompts"][0]["prompts"]["points"]
    assert (round(point["y"]), round(point["x"])) == (40, 50)

    before = page.locator(".corner.bottom").first.text_content()
    middle = tablet.at(80, 80)
    session = page.context.new_cdp_session(page)
    for apart in (20, 40, 60, 80):
        kind = "touchStart" if apart == 20 else "touchMove"
        points = [{"x": middle[0] - apart, "y": middle[1], "id": 0}, {"x": middle[0] + apart, "y": middle[1], "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(200)
    percent = [int(text.split(" %")[0]) for text in (before, page.locator(".corner.bottom").first.text_content())]
    assert percent[1] > 2 * percent[0]
    assert not page.get_by_text("Not saved yet").is_visible(), "a pinch draws nothing"
