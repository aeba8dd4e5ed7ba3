"""From releases and from users' own labels to the project's datasets (`datasets/prepare.py`)."""
