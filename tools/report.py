#!/usr/bin/env python
"""`cfrsam report` of a clone: see `python tools/report.py --help`."""

from cfrsam_d2.commands.report import main

if __name__ == "__main__":
    main()
