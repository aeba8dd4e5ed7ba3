"""Text from outside in CSV files, which spreadsheets must not take for formulas."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def text_cell(text: str) -> str:
    """A name as a cell: one that a spreadsheet would compute gets an apostrophe before it.

    So does one that has the apostrophe already: without the first of its apostrophes, every cell
    that matches is the name again. A carriage return becomes a space.
    """
    cell = f"'{text}" if _FORMULA.match(text) else text
    return cell.replace("\r", " ")  # which Python's csv does not quote: it would end the row
