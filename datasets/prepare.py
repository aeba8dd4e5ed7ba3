#!/usr/bin/env python
"""`cfrsam prepare` of a clone: see `python datasets/prepare.py --help`."""

from cfrsam_d2.commands.prepare import main

if __name__ == "__main__":
    main()
