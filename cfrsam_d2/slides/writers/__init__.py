"""The files of a slide: each written from the tables of its chunks, one at a time."""
