"""What can be wrong with a page: links that lead nowhere, formulas that are none, errors, and requests to elsewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from browser.chromium import Browser

OURS = ("file", "data", "blob", "about")
MATHS = """(() => {
  const all = [...document.querySelectorAll(".math")];
  const shown = element => element.textContent.trim().slice(0, 60);
  const raw = all.filter(element => !element.querySelector("mjx-container svg"));
  const bad = [...document.querySelectorAll(
    "mjx-container [data-mml-node=merror], mjx-container [data-mjx-error], mjx-container [fill=red]")];
  const left = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.parentElement.closest("pre, code, script, style, mjx-container, .math") &&
        /\\\\[a-zA-Z]{2,}|\\\\[([]/.test(node.data)) left.push(node.data.trim().slice(0, 60));
  }
  return {count: all.length, faults: [
    ...raw.map(element => "formula not rendered: " + shown(element)),
    ...bad.map(element => "formula in error: " + (element.closest("mjx-container").parentElement.id ||
      element.getAttribute("data-mjx-error") || element.outerHTML.slice(0, 60))),
    ...left.map(text => "TeX in the text: " + text)]};
})()"""
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = colour => colour.slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = rgba(getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faults = [];
  for (const element of document.querySelectorAll("body *")) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element), drawn = element instanceof SVGElement;
    const [a, b] = [light(rgba(drawn ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return faults;
})()"""


class Seen(NamedTuple):
    """What was found on a page."""

    formulas: int
    faults: list[str]


def looked_at(browser: Browser, url: str) -> Seen:
    """A page as a reader meets it: what it asks for, what its console says, how its formulas look."""
    visit, maths = browser.open(url), browser.run(MATHS)
    outside = [f"asks for {asked}" for asked in visit.requests if urlsplit(asked).scheme not in OURS]
    errors = [f"console: {error}" for error in visit.errors]
    return Seen(maths["count"], [*outside, *errors, *maths["faults"]])


def too_wide(browser: Browser, url: str, width: int) -> list[str]:
    """Does a page have to be pushed sideways on a screen of this width?"""
    browser.resize(width)
    browser.open(url)
    if (needed := browser.run("document.documentElement.scrollWidth")) > width:
        return [f"needs {needed} px of {width}"]
    return []


def low_contrast(browser: Browser, url: str, theme: str) -> list[str]:
    """Text that stands out from its ground by less than 4.5 to 1 (WCAG 2, AA)."""
    browser.theme(theme)
    browser.open(url)
    return browser.run(CONTRAST)


def pages_of(pdf: bytes) -> int:
    """How many pages a PDF of Chromium's has."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


# ---------------------------------------------------------------- links


class Anchors(HTMLParser):
    """The places in a page, and where it leads to."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Every id, and every href and src."""
        given = dict(attributes)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def dead_links(root: Path) -> Iterator[str]:
    """Links of the pages in a folder to files or places in them that are not there. What is in _static is no page."""
    files = [path.resolve() for path in root.rglob("*.html") if "_static" not in path.relative_to(root).parts]
    pages = {path: Anchors(path.read_text(encoding="utf-8")) for path in files}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = f"{path.relative_to(root.resolve())} -> {link}"
            if not target.is_file():
                yield f"{where}: no such file"
            elif target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{where}: no such place"
