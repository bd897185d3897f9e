"""Checks of drawing: the browser, the graphics cards, and several browsers at once."""

from __future__ import annotations

import asyncio
import contextlib
import time

from runner.browsers import Launcher, best_driver, find_browser, find_cards, find_drivers, undrawn
from runner.doctor.check import Check, State, answer_of
from runner.errors import BrowserError

__all__ = ["check_browser", "check_cards", "check_driver", "check_together"]

_TOGETHER_S = 120.0
# Clears to one colour after the other, reads each back, and counts those that came out right.
_ROUNDS = 60
_DRAW = f"""(() => {{
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return -1;
  const pixel = new Uint8Array(4);
  let right = 0;
  for (let i = 0; i < {_ROUNDS}; i++) {{
    gl.clearColor(i / 255, 1 - i / 255, 0.2, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.readPixels(7, 7, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    right += Math.abs(pixel[0] - i) <= 1 && Math.abs(pixel[2] - 51) <= 1;
  }}
  return right;
}})()"""


def check_browser() -> Check:
    """Whether there is one, and which."""
    try:
        path = find_browser()
    except BrowserError as error:
        return Check("browser", State.FAIL, "none was found", str(error))
    version = answer_of(path, "--version")
    if version is None:
        return Check(
            "browser", State.FAIL, f"{path} does not tell its version", "name another in RUNNER_BROWSER"
        )
    return Check("browser", State.OK, f"{version} ({path})")


def check_driver() -> Check:
    """Whether Playwright's driver starts, through which all browsers are started."""
    try:
        asyncio.run(_start_driver())
    except BrowserError as error:
        found, _, fix = str(error).partition("; ")
        return Check("driver", State.FAIL, found, fix)
    return Check("driver", State.OK, "Playwright's driver starts")


async def _start_driver() -> None:
    launcher = Launcher()
    await launcher.start()
    await launcher.stop()


def check_cards(renderer: str | None) -> Check:
    """Which cards are here, and whether the best of them draws. renderer: its name; None where nothing was tried."""
    cards, drivers = find_cards(), find_drivers()
    told = ", ".join(f"{card.number}: {card.name}" for card in cards) or "none"
    told += f"; EGL drivers: {', '.join(driver.name for driver in drivers) or 'none'}"
    idle = undrawn(cards, drivers, renderer) if renderer is not None else ""
    if idle:
        what, _, fix = idle.partition("; ")
        return Check("graphics card", State.WARN, f"{told}; {what}", fix)
    if pin := best_driver(cards, drivers):
        told += f"; browsers are pinned to {pin}"
    return Check("graphics card", State.OK, told)


def check_together(sessions: int, rasterizer: str, renderer: str) -> Check:
    """Whether so many browsers draw at the same time: with some drivers they hang.

    renderer: the one that this rasterizer had in the trial, as WebGL names it.
    """
    cards, drivers = find_cards(), find_drivers()
    pin = "" if undrawn(cards, drivers, renderer) else best_driver(cards, drivers)
    name, began = "at once", time.monotonic()
    try:
        wrong = asyncio.run(_draw_together(sessions, rasterizer, [pin] if pin else []))
    except BrowserError as error:
        return Check(name, State.FAIL, f"{sessions} browsers: {error}", "ask for fewer with --sessions")
    if wrong:
        fix = f"ask for fewer with --sessions, or for --rasterizer swiftshader; {sessions - len(wrong)} of them drew"
        return Check(name, State.FAIL, "; ".join(sorted(set(wrong))), fix)
    return Check(
        name,
        State.OK,
        f"{sessions} browsers draw ({rasterizer}), {time.monotonic() - began:.0f} s with their start",
    )


async def _draw_together(sessions: int, rasterizer: str, pins: list[str]) -> list[str]:
    """The error of each browser that did not draw correctly."""
    launcher = Launcher(pins)
    await launcher.start()
    try:
        started = await asyncio.gather(*(launcher.launch(rasterizer, number) for number in range(sessions)))
        ends = await asyncio.gather(
            *(browser.tab.evaluate(_DRAW, _TOGETHER_S) for browser in started), return_exceptions=True
        )
        for browser in started:
            with contextlib.suppress(BrowserError):
                await browser.close()
    finally:
        await launcher.stop()
    return [_wrong(end) for end in ends if end != _ROUNDS]


def _wrong(end: object) -> str:
    if isinstance(end, asyncio.TimeoutError):
        return f"a browser did not draw within {_TOGETHER_S:.0f} s"
    if isinstance(end, BaseException):
        return f"a browser ended: {end}"
    return "a browser has no WebGL" if end == -1 else f"a browser drew {end} of {_ROUNDS} colours right"
