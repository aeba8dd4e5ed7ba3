"""Pages for people: a report about finished runs, and the annotation of one image."""
