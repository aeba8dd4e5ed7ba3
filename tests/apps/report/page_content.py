"""What a page says, as a browser would read it."""

from html.parser import HTMLParser


class _Tables(HTMLParser):
    """Collects the cells of every table, and the ids of all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self._rows: list[list[str]] = []
        self._texts: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._texts = []

    def handle_data(self, data: str) -> None:
        if self._texts is not None:
            self._texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._rows[-1].append("".join(self._texts))
        elif tag == "caption":
            self.tables["".join(self._texts)] = self._rows
        if tag in ("td", "th", "caption"):
            self._texts = None


def read_page(page: str) -> _Tables:
    """Parse a page: `tables` (rows of cells by caption), `ids` and `links`."""
    parser = _Tables()
    parser.feed(page)
    return parser


def by_row(table: list[list[str]]) -> dict[str, list[str]]:
    """Cells of a table by the name of their row, heads included."""
    return {row[0]: row[1:] for row in table}
