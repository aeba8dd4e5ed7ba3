"""What people look at: the report about finished runs, and the annotation page of one image."""
