#!/usr/bin/env python
"""`cfrsam annotate` of a clone: see `python tools/annotate.py --help`."""

from cfrsam_d2.commands.annotate import main

if __name__ == "__main__":
    main()
