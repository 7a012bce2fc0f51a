"""A real browser without a window: Debian's chromium, driven through chromedriver."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.needs import NEEDS, find_browser

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@contextmanager
def opened(profile: Path, *, dark: bool = False, width: int = 1280) -> Iterator[Chrome]:
    """A browser with an empty profile; the test needs("chromium")."""
    programs = find_browser()
    assert programs, NEEDS["chromium"].hint
    options = ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*QUIET, f"--user-data-dir={profile}", f"--window-size={width},900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(programs[1]))
    try:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        yield driver
    finally:
        driver.quit()


def requests(driver: Chrome) -> list[str]:
    """The addresses that were asked for since the last call; not what the browser carries."""
    events = [json.loads(entry["message"])["message"] for entry in _log(driver, "performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and not event["params"]["request"]["url"].startswith(("chrome://", "data:"))
    ]


def complaints(driver: Chrome) -> list[str]:
    """What the page wrote into the console as a warning or an error."""
    return [
        entry["message"]
        for entry in _log(driver, "browser")
        if entry["level"] in ("SEVERE", "WARNING")
    ]


def screenshot(driver: Chrome, file: Path) -> None:
    """The whole page as a PNG, not only what a window would show."""
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    file.write_bytes(base64.b64decode(shot["data"]))


def _log(driver: Chrome, kind: str) -> list[dict[str, Any]]:
    return list(driver.get_log(kind))  # type: ignore[no-untyped-call]
