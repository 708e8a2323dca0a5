"""Headless Chromium through chromedriver's HTTP interface (WebDriver), with nothing but the standard library."""

import base64
import contextlib
import json
import os
import shutil
import urllib.error
import urllib.request

import harness
from servers import Server

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars"]


def why_not():
    """Why there is no browser here, or None."""
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)} (scripts/lib/packages.sh has the packages)" if missing else None


class Browser(Server):
    """One window of one browser, with more ARGUMENTS than it needs."""

    def __init__(self, *arguments):
        super().__init__(harness.scratch_folder("browser"))
        self.url = f"http://127.0.0.1:{harness.free_ports(1)[0]}"
        self.arguments = arguments
        self.session = None

    def start(self):
        self.spawn(["chromedriver", f"--port={self.url.rpartition(':')[2]}"])
        self.wait_ready(lambda: self.call("GET", "/status")["ready"], timeout_s=60)
        options = {"args": [*ARGUMENTS, *self.arguments, f"--user-data-dir={self.folder}/profile"]}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        return self

    def stop(self, timeout_s=30):
        if self.session:
            with contextlib.suppress(OSError):
                self.call("DELETE", f"/session/{self.session}")
            self.session = None
        return super().stop(timeout_s)

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"{method} {path}: {error.read()[:2000]}") from error

    def ask(self, command, body):
        return self.call("POST", f"/session/{self.session}/{command}", body)

    def open(self, url):
        self.ask("url", {"url": url})

    def run(self, script, *arguments):
        """The value that the JavaScript returns."""
        return self.ask("execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, what, timeout_s=30):
        """Until the JavaScript returns something true."""
        return harness.wait_for(lambda: self.run(script), what, timeout_s)

    def devtools(self, command, **parameters):
        return self.ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def show(self, width, height, theme):
        """A screen of that size, in the colours that the system is set to."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.devtools("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path):
        """The whole page."""
        image = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(image))

    def complaints(self):
        """What the console has said since the last look."""
        return [entry for entry in self.ask("se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]
