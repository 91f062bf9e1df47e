# SPDX-License-Identifier: Apache-2.0
"""Somebody who types the PIN whenever the browser asks for it, while the test looks at the page."""

from __future__ import annotations

import threading
from types import TracebackType

from browser_display import Display, NotSeen
from browser_page import Browser


class Typist:
    """`typed`: how often."""

    def __init__(self, display: Display, browser: Browser, pin: str) -> None:
        self._display, self._browser, self._pin = display, browser, pin
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="typist")
        self.typed = 0

    def __enter__(self) -> Typist:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            window = self._display.find_window(self._browser.pin_window)
            if window is not None:
                self._display.type(window, self._pin)
                self.typed += 1
                try:
                    self._display.wait_gone(window, 10)
                except NotSeen:
                    continue  # asked again in the same window
