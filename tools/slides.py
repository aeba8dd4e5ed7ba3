#!/usr/bin/env python
"""`cfrsam slides` of a clone: see `python tools/slides.py --help`."""

from cfrsam_d2.commands.slides import main

if __name__ == "__main__":
    main()
