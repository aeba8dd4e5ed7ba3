"""What a user runs. A package, so that tests find it and not a namesake, such as Detectron2's."""
