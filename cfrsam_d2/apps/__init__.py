"""What a user's commands do, by their names; each is imported once its command line is read."""
