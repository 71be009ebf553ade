"""Whatever is not markup already is escaped."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from minilte.show.markup import Html, element, figure, listing, table


class Read(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html.text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(plain, plain)
def test_text_and_attributes_come_back_as_they_were(text, label):
    read = Read(element("p", text, aria_label=label))
    assert (read.tags, read.text) == ([("p", {"aria-label": label})], text)


@given(plain.filter(bool))  # a table whose heads are all empty has none
def test_no_text_adds_a_tag(text):
    tags = [tag for tag, _ in Read(table([text, text], [[text, text]], text, wide=True)).tags]
    assert tags == ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "th", "td"]
    assert [tag for tag, _ in Read(listing([text])).tags] == ["ul", "li"]
    assert [tag for tag, _ in Read(figure("<svg ></svg>", text, text)).tags] == ["figure", "svg", "figcaption"]


def test_what_no_file_can_hold_is_written_out():
    assert element("p", "\ud800").text == "<p>\\ud800</p>"


def test_markup_stands_as_it_is_and_nothing_as_nothing():
    assert element("p", Html("<b>x</b>"), None, ["&", Html("<i></i>")]).text == "<p><b>x</b>&amp;<i></i></p>"
    assert element("p", class_=None, id="x").text == '<p id="x"></p>'


def test_a_column_of_numbers_stands_at_the_right_with_its_head():
    rows = [["a", "1,000", "x", "1.5 kB"], ["b", "−2e−05", "1", "none"]]
    text = table(["", "n", "w", "m"], rows, "t").text
    assert text.count('<th scope="col" class="number">') == 2 and text.count('<td class="number">') == 4
    assert 'class="number"' not in table(["", "n", "w", "m"], rows, "t", numbers=False).text
    assert "<thead>" not in table(["", ""], [["a", "1"]], "t").text
