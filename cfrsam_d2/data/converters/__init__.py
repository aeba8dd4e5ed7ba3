"""From releases and from the user's own labels to the project's datasets (`datasets/prepare.py`)."""
