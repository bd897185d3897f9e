"""One tab of a headless browser, opened, asked and watched through Chromium's DevTools protocol.

Playwright follows each message of its own pages' websockets in three processes. That takes a fifth of the CPU time of a
small frame. So Playwright only starts and ends the browsers; this tab lives in a browser context that it does not know.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any

from runner.errors import BrowserError
from runner.reasons import one_line

__all__ = ["Tab"]

_CONSOLE_LINES, _LONGEST_LINE = 20, 500
_LIMIT_S = 30.0
# Vuer's page prints these each time: it asks the network for fonts and a library, works without them, and cannot read
# all of a font.
_NOISE = re.compile(
    r"fonts\.g(oogleapis|static)\.com|cdn\.jsdelivr\.net/(gh/lojjic|npm/@vuer-ai)/|unsupported G(POS|SUB) table"
)
_log = logging.getLogger(__name__)


class Tab:
    """A tab of the browser that `devtools`, a CDPSession of Playwright's, belongs to.

    on_crash, on_closed: called when its process, or only the tab, is gone. on_address: called with each address that it
    loads. console: the last lines that its page has printed.
    """

    def __init__(
        self,
        devtools: Any,
        on_crash: Callable[[], None],
        on_closed: Callable[[], None],
        on_address: Callable[[str], None],
    ):
        self.console: deque[str] = deque(maxlen=_CONSOLE_LINES)
        self._devtools = devtools
        self._target = self._session = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        calls: dict[str, Callable[[dict[str, Any]], None]] = {
            "Target.targetCrashed": lambda event: on_crash(),
            "Target.targetDestroyed": lambda event: on_closed(),
            "Target.targetInfoChanged": lambda event: on_address(event["targetInfo"]["url"]),
        }
        for name, call in calls.items():
            devtools.on(name, lambda event, call=call: call(event) if self._is_mine(event) else None)
        devtools.on("Target.receivedMessageFromTarget", self._receive)

    async def open(self) -> None:
        """Open the tab, empty. Raises Playwright's errors."""
        context = await self._devtools.send("Target.createBrowserContext")
        await self._devtools.send("Target.setDiscoverTargets", {"discover": True})
        place = {"browserContextId": context["browserContextId"], "width": 320, "height": 240}
        made = await self._devtools.send("Target.createTarget", {"url": "about:blank"} | place)
        self._target = made["targetId"]
        # Not a flat session: those are Playwright's own.
        attached = await self._devtools.send(
            "Target.attachToTarget", {"targetId": self._target, "flatten": False}
        )
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log"):
            await self.send(f"{domain}.enable")

    async def send(self, method: str, limit_s: float = _LIMIT_S, **params: Any) -> dict[str, Any]:
        """What the tab answers to a command of the DevTools protocol.

        Raises BrowserError when it refuses; asyncio.TimeoutError when it does not answer within limit_s.
        """
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": number, "method": method, "params": params})
        try:
            sent = self._devtools.send(
                "Target.sendMessageToTarget", {"sessionId": self._session, "message": message}
            )
            await asyncio.wait_for(sent, limit_s)
            found = await asyncio.wait_for(answer, limit_s)
        finally:
            del self._answers[number]
        if "error" in found:
            raise BrowserError(f"the browser refused {method}: {found['error'].get('message')}")
        result: dict[str, Any] = found["result"]
        return result

    async def go(self, url: str) -> None:
        """Load a page. Raises BrowserError, asyncio.TimeoutError."""
        found = await self.send("Page.navigate", url=url)
        if found.get("errorText"):
            raise BrowserError(f"the browser did not load its page: {found['errorText']}")

    async def evaluate(self, expression: str, limit_s: float = _LIMIT_S) -> Any:
        """The JSON value of a JavaScript expression, in the page. Raises as send does."""
        found = await self.send("Runtime.evaluate", limit_s, expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def close(self) -> None:
        """Close the tab."""
        await self._devtools.send("Target.closeTarget", {"targetId": self._target})

    def give_up(self, reason: str) -> None:
        """It is over: all who wait for an answer get a BrowserError."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrowserError(reason))
                answer.exception()  # perhaps nobody waits for it yet

    def _is_mine(self, event: dict[str, Any]) -> bool:
        return bool(event.get("targetInfo", event).get("targetId") == self._target)

    def _receive(self, event: dict[str, Any]) -> None:
        if event["sessionId"] != self._session:
            return
        message = json.loads(event["message"])
        answer = self._answers.get(message.get("id"))
        if answer is not None and not answer.done():
            answer.set_result(message)
        line = _console_line(message.get("method"), message.get("params", {}))
        if line and not _NOISE.search(line):
            line = one_line(line, _LONGEST_LINE)
            self.console.append(line)
            _log.info("%s", line)


def _console_line(method: str | None, params: dict[str, Any]) -> str:
    """The console line of an event in the domains Runtime and Log; '' for other events."""
    if method == "Runtime.consoleAPICalled":
        words = [str(one.get("value", one.get("description", one["type"]))) for one in params["args"]]
        return f"{params['type']}: {' '.join(words)}"
    if method == "Runtime.exceptionThrown":
        details = params["exceptionDetails"]
        return f"uncaught: {details.get('exception', {}).get('description', details['text'])}"
    if method == "Log.entryAdded":
        entry = params["entry"]
        return f"{entry['level']}: {entry['text']} {entry.get('url', '')}".rstrip()
    return ""
