"""Drawing: without a window, without global state, never half written, and in the colours of the page it stands in."""

import os
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.show import drawing


def line(axes):
    axes.plot([1, 2])


def test_a_picture_is_saved_as_svg_and_png(tmp_path):
    drawing.draw(tmp_path / "plots", "line", line)
    assert {found.name for found in (tmp_path / "plots").iterdir()} == {"line.svg", "line.png"}
    assert (tmp_path / "plots" / "line.png").read_bytes().startswith(b"\x89PNG")
    assert xml.parse(tmp_path / "plots" / "line.svg").getroot().tag.endswith("svg")


def test_panels_are_an_array_of_axes(tmp_path):
    shapes = []
    drawing.draw(tmp_path, "one", lambda axes: shapes.append(np.shape(axes)))
    drawing.draw(tmp_path, "six", lambda axes: shapes.append(np.shape(axes)), panels=(2, 3))
    assert shapes == [(), (2, 3)]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "plots").touch()
    with pytest.raises(BadInput, match="plots: File exists; name a folder that can be written"):
        drawing.draw(tmp_path / "plots", "line", line)


def test_a_picture_is_drawn_over_a_picture_and_over_nothing_else(tmp_path):
    for made in ("line.svg", "line.png"):
        drawing.draw(tmp_path, "line", line)
        drawing.draw(tmp_path, "line", lambda axes: axes.plot([2, 1]))
        (tmp_path / made).write_text("mine")
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(BadInput, match=f"{made}: it exists already and is no picture"):
            drawing.draw(tmp_path, "line", line)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        (tmp_path / made).unlink()
        os.mkfifo(tmp_path / made)
        with pytest.raises(BadInput, match=f"{made}: it exists already and is no picture"):
            drawing.draw(tmp_path, "line", line)
        (tmp_path / made).unlink()


def test_what_a_matplotlibrc_asks_for_changes_no_picture_and_stays(tmp_path):
    import matplotlib

    drawing.draw(tmp_path / "plain", "line", line)
    svg = drawing.inline("a", line)
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red", "lines.linewidth": 9}):
        drawing.draw(tmp_path / "asked", "line", line)
        assert drawing.inline("a", line) == svg
        assert matplotlib.rcParams["text.usetex"] is True
    assert (tmp_path / "plain/line.png").read_bytes() == (tmp_path / "asked/line.png").read_bytes()


def test_matplotlib_that_cannot_be_loaded_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        BadInput, match="^matplotlib cannot be loaded: .*; see the variable MPLBACKEND, and the matplotlibrc"
    ):
        drawing.inline("a", line)


def test_drawing_needs_no_window_and_no_global_state(tmp_path):
    code = f"""import sys
from pathlib import Path
from minilte.show import drawing
assert "matplotlib" not in sys.modules
drawing.draw(Path({str(tmp_path / "plots")!r}), "line", lambda axes: axes.plot([1, 2]))
drawing.inline("a", lambda axes: axes.plot([1, 2]))
assert "matplotlib.pyplot" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {found.name for found in (tmp_path / "plots").iterdir()} == {"line.svg", "line.png"}


def test_drawing_for_a_page_leaves_the_settings_of_others_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawing.inline("a", line)
    assert dict(matplotlib.rcParams) == before


def test_tones_become_variables_of_the_page():
    svg = drawing.inline("a", lambda axes: axes.plot([1, 2], color=drawing.tone(11)))
    assert "stroke: var(--tone-11)" in svg and drawing.TONE not in svg


def test_an_inline_figure_is_the_same_at_any_time_and_its_ids_begin_with_its_name():
    svg = drawing.inline("a", line)
    assert svg == drawing.inline("a", line) != drawing.inline("b", line)
    ids = [element.attrib["id"] for element in xml.fromstring(svg).iter() if "id" in element.attrib]
    assert ids and all(one.startswith("a-") for one in ids)


def test_a_figure_is_adopted_without_style_font_and_groups_of_its_own():
    svg = (
        '<?xml version="1.0"?><svg width="9" viewBox="0 0 9 9" xmlns="x"><defs><style>*{}</style></defs>'
        '<g id="figure_1"><clipPath id="p"/><use xlink:href="#p" clip-path="url(#p)" style="stroke: #0a0b1f"/></g></svg>'
    )
    assert drawing.adopted(svg, "a") == (
        '<svg viewBox="0 0 9 9"><g><clipPath id="a-p"/>'
        '<use href="#a-p" clip-path="url(#a-p)" style="stroke: var(--tone-31)"/></g></svg>'
    )
