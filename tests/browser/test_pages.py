"""The pages that people open, in a real browser: those of the documentation, and reports.

Formulas are rendered, links lead somewhere, the console is silent, and no page asks for anything from elsewhere. Faults
are planted to see that they are found.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from browser import chromium
from browser.checks import dead_links, looked_at, low_contrast, pages_of, too_wide

ROOT = Path(__file__).parents[2]
PHONE = 360  # px
MATHJAX = (ROOT / "docs/_static/mathjax/tex-svg.js").as_uri()

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(chromium.found() is None, reason=f"no browser: none of {', '.join(chromium.NAMES)} on PATH"),
]


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as opened:
        yield opened


@pytest.fixture(autouse=True)
def desk(request):
    """Every test begins at a desk, in light."""
    if "browser" in request.fixturenames:
        opened = request.getfixturevalue("browser")
        opened.resize(1200)
        opened.theme("light")


# ---------------------------------------------------------------- the documentation


@pytest.fixture(scope="module")
def docs():
    """The pages, built from what is there now."""
    done = subprocess.run([ROOT / "run", "docs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "docs" / "_build" / "html"


@pytest.mark.timeout(600)  # the documentation may have to be built, with its notebooks
def test_every_page_of_the_documentation_is_sound(browser, docs):
    pages = sorted({*docs.glob("*.html"), *(docs / "notebooks").glob("*.html")})
    seen = {str(page.relative_to(docs)): looked_at(browser, page.as_uri()) for page in pages}
    assert {name: found.faults for name, found in seen.items() if found.faults} == {}
    assert seen["algorithm.html"].formulas > 20  # or the formulas were not looked at


def test_every_link_of_the_documentation_leads_somewhere(docs):
    assert list(dead_links(docs)) == []


# ---------------------------------------------------------------- reports


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A page on one run, and one on three."""
    place = tmp_path_factory.mktemp("reports")

    def command(name, *argv):
        done = subprocess.run(
            [sys.executable, "-m", f"minilte.{name}", *argv], cwd=place, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    small = ["--quiet", "--steps=20", "--widths=64", "--batch=64"]
    runs = {"lte": ["--rank=8", "--measure"], "full": ["--method=full"], "nf4": ["--rank=8", "--quant=nf4"]}
    for name, flags in runs.items():
        command("train", *small, *flags, f"--out={name}")
    command("report", "lte", "--out=one.html")
    command("report", "lte", "full", "nf4", "--out=three.html")
    return place


@pytest.mark.parametrize("name", ["one.html", "three.html"])
def test_a_report_is_sound_on_a_desk_on_a_phone_and_on_paper(browser, reports, name):
    url = (reports / name).as_uri()
    assert looked_at(browser, url).faults == []
    assert [asked for asked in browser.open(url).requests] == [url]
    assert too_wide(browser, url, PHONE) == []
    assert pages_of(browser.pdf()) >= 1
    assert browser.run("document.querySelectorAll('figure svg').length") >= 6


def test_a_bar_is_as_long_as_its_bytes(browser, reports):
    browser.open((reports / "one.html").as_uri())
    bars = browser.run("""[...document.querySelectorAll(".bar")].map(bar =>
        [bar.getBoundingClientRect().width, parseFloat(bar.style.width) / 100, bar.parentElement.clientWidth])""")
    assert len(bars) > 3
    for width, share, room in bars:
        assert abs(width - share * room) <= 1.5  # px; a bar of nearly nothing is 1 px long


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_text_of_a_report_stands_out_from_its_ground(browser, reports, theme):
    assert low_contrast(browser, (reports / "three.html").as_uri(), theme) == []
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(253, 252, 249)") == (theme == "light")


def test_the_links_of_a_report_lead_somewhere(reports, tmp_path):
    (tmp_path / "three.html").write_bytes((reports / "three.html").read_bytes())
    assert list(dead_links(tmp_path)) == []


# ---------------------------------------------------------------- planted faults


def planted(place, body, head=""):
    """A page with this body."""
    page = place / "page.html"
    page.write_text(f'<!doctype html><html><head><meta charset="utf-8">{head}</head><body>{body}</body></html>')
    return page


SCRIPT = f'<script defer src="{MATHJAX}"></script>'
VIEWPORT = '<meta name="viewport" content="width=device-width">'
SOUND = '<h1 id="x">x</h1><a href="#x">up</a><span class="math">\\(a^2 + \\frac{1}{2}\\)</span><code>\\frac</code>'


def test_a_sound_page_has_no_faults(browser, tmp_path):
    page = planted(tmp_path, SOUND, SCRIPT + VIEWPORT)
    found = looked_at(browser, page.as_uri())
    assert (found.formulas, found.faults) == (1, [])
    assert list(dead_links(tmp_path)) == [] and too_wide(browser, page.as_uri(), PHONE) == []


@pytest.mark.parametrize(
    ("body", "head", "fault"),
    [
        ('<span class="math">\\(\\frac{a\\)</span>', SCRIPT, "formula not rendered"),  # it has no end
        ('<span class="math">\\(\\nosuchmacro\\)</span>', SCRIPT, "formula in error"),
        ('<span class="math">\\(\\left( x\\)</span>', SCRIPT, "formula in error"),
        ('<span class="math">\\(a\\)</span>', "", "formula not rendered"),
        ('<p class="tex2jax_ignore">as \\alpha grows</p>', SCRIPT, "TeX in the text: as \\alpha"),
        ('<img src="https://example.org/x.png">', "", "asks for https://example.org/x.png"),
        ("", '<link rel="stylesheet" href="http://example.org/x.css">', "asks for http://example.org/x.css"),
        ("<script>fetch('https://example.org/data')</script>", "", "asks for https://example.org/data"),
        ("<script>console.error('the cat')</script>", "", "console: the cat"),
        ("<script>setTimeout(() => nothing.at.all)</script>", "", "console: ReferenceError: nothing"),
        ('<img src="gone.png">', "", "console: Failed to load resource"),
        (
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'"><script>1</script>',
            "",
            "console:",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_a_planted_fault_is_found(browser, tmp_path, body, head, fault):
    found = looked_at(browser, planted(tmp_path, body, head).as_uri())
    assert any(one.startswith(fault) for one in found.faults), found


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("gone.html", "no such file"),
        ("#gone", "no such place"),
        ("page.html#gone", "no such place"),
        ("..", "no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, link, fault):
    planted(tmp_path, f'<a href="{link}">x</a>')
    assert list(dead_links(tmp_path)) == [f"page.html -> {link}: {fault}"]


def test_a_page_that_is_too_wide_is_found(browser, tmp_path):
    page = planted(tmp_path, '<div style="width: 500px">x</div>', VIEWPORT)
    (fault,) = too_wide(browser, page.as_uri(), PHONE)
    assert fault.startswith("needs 50") and fault.endswith("of 360")


def test_faint_text_is_found(browser, tmp_path):
    page = planted(tmp_path, '<p style="color: #999; background: #fff">faint</p><p>strong</p>')
    assert low_contrast(browser, page.as_uri(), "light") == ["contrast 2.85: faint"]
