"""One table says the same in every form, and nothing in it can break a form."""

from html.parser import HTMLParser

from analysis.tables.forms.latex import points, to_latex
from analysis.tables.forms.render import Cell, Column, Row, Table, to_html, to_markdown, to_text

TABLE = Table(
    name="accuracy",
    title="Test accuracy",
    columns=[Column("Method", "l"), Column("wrn_40_2 → wrn_16_2", group="wrn_40_2/wrn_16_2")],
    rows=[
        Row([Cell("kd_50%&<b>"), Cell("74.92 ± 0.28 (3)")], "kd"),
        Row([Cell("dskd|a"), Cell("75.30 ± 0.10 (3)", "best")], "dskd", rule_above=True),
        Row([Cell("crd"), Cell("2 failed", "hole")], "crd"),
    ],
    caption="Top-1 (%).",
    notes=("5 % & more",),
)


def test_markdown_has_bold_best_and_escaped_pipes():
    lines = to_markdown(TABLE).splitlines()
    assert "| kd\\_50%&<b> |        74.92 ± 0.28 (3) |" in lines
    assert "**75.30 ± 0.10 (3)**" in lines[5]
    assert "dskd\\|a" in lines[5]
    assert "*2 failed*" in lines[6]
    assert len({len(line) for line in lines[2:7]}) == 1


def test_latex_escapes_what_is_special_and_uses_booktabs():
    text = to_latex(TABLE)
    assert r"kd\_50\%\&$<$b$>$ & 74.92 $\pm$ 0.28 (3) \\" in text
    assert r"dskd|a & \textbf{75.30 $\pm$ 0.10 (3)} \\" in text
    assert r"\shortstack[r]{wrn\_40\_2 $\to$\\wrn\_16\_2}" in text
    assert text.count(r"\midrule") == 2
    assert r"\toprule" in text
    assert r"\bottomrule" in text


def test_latex_breaks_long_headers_and_spans_two_columns_only_when_it_must():
    wide = Table("w", "Wide", [Column("extra parameters (training)")] * 9, [Row([Cell("1")] * 9)])
    assert r"\begin{table}" in to_latex(TABLE)
    text = to_latex(wide)
    assert r"\begin{table*}" in text
    assert r"\shortstack[r]{extra\\parameters\\(training)}" in text
    assert points(wide, "small") > points(wide, "tiny")


def test_a_column_that_says_the_same_everywhere_can_be_left_out():
    rows = [Row([Cell("a → b"), Cell(name)]) for name in ("kd", "dkd")]
    table = Table("t", "T", [Column("Pair"), Column("Method")], rows).without_constant("Pair")
    assert [column.header for column in table.columns] == ["Method"]
    assert [row.cells[0].text for row in table.rows] == ["kd", "dkd"]
    assert table.without_constant("Method") == table


def test_markdown_headers_are_escaped_too():
    table = Table("t", "T", [Column("a|b"), Column("c_d")], [Row([Cell("1\\"), Cell("2")])])
    lines = to_markdown(table).splitlines()
    assert lines[2] == "| a\\|b | c\\_d |"
    assert lines[4] == "|  1\\\\ |    2 |"


def test_text_is_aligned_and_marks_the_best():
    lines = to_text(TABLE).splitlines()
    assert lines[0] == "Test accuracy"
    assert lines[4].endswith("75.30 ± 0.10 (3)*")
    assert all(len(line) <= len(lines[2]) for line in lines[3:6])
    assert lines[6] == "  * best of its column or not told from it, or chosen"
    assert "* best" not in to_text(Table("t", "T", [Column("a")], [Row([Cell("1")])]))


def test_html_escapes_cells_and_carries_what_the_filters_select_on():
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen = []

        def handle_starttag(self, tag, attrs):
            self.seen.append((tag, dict(attrs)))

    parser = Tags()
    parser.feed(to_html(TABLE))
    tags = [tag for tag, _ in parser.seen]
    assert "b" not in tags[tags.index("table") :]
    assert tags.count("tr") == 4
    rows = [attrs.get("data-method") for tag, attrs in parser.seen if tag == "tr"]
    assert rows == [None, "kd", "dskd", "crd"]
    cells = [attrs for tag, attrs in parser.seen if tag == "td"]
    assert cells[1]["data-pair"] == "wrn_40_2/wrn_16_2"
    assert cells[3]["class"] == "r best"
