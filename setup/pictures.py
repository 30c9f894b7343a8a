"""Write docs/pictures: pages of `view` and plots of a run, as Chromium shows them. Called by `make pictures`.

python setup/pictures.py [RUN]: takes a finished run; without one it makes a run on phantoms in runs/pictures, once.
Needs Debian's chromium and chromium-driver. The pictures show figures of that run, and no image of a patient.
"""

import base64
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
PAGES = {"view-run": "", "view-round": "/rounds/1", "view-model": "/model", "view-hospitals": "/hospitals"}
PLOTS = ("learning_curves", "roc")
WIDTH, HIGHEST = 1000, 1500  # pixels of a page
COLORS = 160  # of a picture: a third of the bytes of all colors


def main(run: Path) -> None:
    """Make all pictures of a run."""
    if not run.exists():
        options = ["--hospitals", "3", "--rounds", "4", "--baselines", "--seed", "1", "--out", str(run)]
        subprocess.run([sys.executable, ROOT / "main.py", "simulate", *options], check=True)  # noqa: S603 - own program
    PICTURES.mkdir(exist_ok=True)
    view = subprocess.Popen(  # noqa: S603 - own program
        [sys.executable, ROOT / "main.py", "view", run], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        address = next(found[0] for line in view.stdout or () if (found := re.search(r"http://\S+token=\S+", line)))
        with tempfile.TemporaryDirectory() as profile:
            browser = started(profile)
            try:
                photograph(browser, address)
            finally:
                browser.quit()
    finally:
        view.terminate()
        view.wait()
    for name in PLOTS:
        save(name, Image.open(run / f"{name}.png"))
    print(f"{sum(path.stat().st_size for path in PICTURES.iterdir()):,} bytes in {PICTURES.relative_to(ROOT)}")


def started(profile: str) -> webdriver.Chrome:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for each in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"):
        options.add_argument(each)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def photograph(browser: webdriver.Chrome, address: str) -> None:
    """Save each page of the one run that is shown."""
    browser.get(address)
    start = re.match(r"http://[^/]+", address)[0]
    run = re.search(r"/runs/[0-9a-f]+", browser.page_source)[0]
    for name, place in PAGES.items():
        size = {"width": WIDTH, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "height": HIGHEST})
        browser.get(f"{start}{run}{place}")
        height = min(HIGHEST, browser.execute_script("return document.body.scrollHeight"))
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "height": height})
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        save(name, Image.open(io.BytesIO(base64.b64decode(shot))))


def save(name: str, picture: Image.Image) -> None:
    """Save a picture in few colors."""
    few = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "pictures")
