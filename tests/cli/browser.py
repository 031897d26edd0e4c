"""Opens a page in headless Chromium, without a network, and says what it finds there."""

import re
import shutil
import subprocess
import tempfile

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Opened:
    def __init__(self, page, timeout=120):
        # On a busy machine the browser's own clock can run out before the page has begun.
        for _ in range(3):
            self.read(page, timeout)
            if "data-checked" in self.body:
                break

    def read(self, page, timeout):
        with tempfile.TemporaryDirectory(prefix="mote-browser-") as profile:
            done = subprocess.run(
                [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                 "--disable-background-networking", "--proxy-server=127.0.0.1:9", "--window-size=1200,900",
                 "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--dump-dom",
                 f"{page.resolve().as_uri()}#check"],
                capture_output=True, timeout=timeout)
        self.dom = done.stdout.decode(errors="replace")
        self.console = re.findall(r":CONSOLE[:(]\d+\)?\] (.*)", done.stderr.decode(errors="replace"))
        tags = re.findall(r"<canvas\b[^>]*>", self.dom)
        self.canvases = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in tags]
        body = re.search(r"<body\b[^>]*>", self.dom)
        self.body = dict(re.findall(r'([\w-]+)="([^"]*)"', body.group())) if body else {}
        self.titles = re.findall(r"<h3>(.*?)</h3>", self.dom, re.DOTALL)
        self.tables = self.dom.count("<table>")


def problems(opened, least):
    """What is wrong with a page that should have that many charts at least; empty: nothing."""
    wrong = []
    if opened.body.get("data-checked") != "yes":
        wrong.append("its own check did not run")
    if opened.body.get("data-errors") != "0":
        wrong.append(f"{opened.body.get('data-errors')} errors")
    if opened.console:
        wrong.append(f"on the console: {opened.console}")
    if len(opened.canvases) < least or len(opened.canvases) != len(opened.titles):
        wrong.append(f"{len(opened.canvases)} charts, {len(opened.titles)} titles, at least {least} wanted")
    for title, canvas in zip(opened.titles, opened.canvases):
        if canvas.get("data-drawn") != "yes" or int(canvas.get("data-painted", 0)) < 500:
            wrong.append(f"'{title}' is not drawn: {canvas}")
    return wrong
