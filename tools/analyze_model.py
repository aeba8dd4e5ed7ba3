#!/usr/bin/env python
"""`cfrsam analyze` of a clone: see `python tools/analyze_model.py --help`."""

from cfrsam_d2.commands.analyze import main

if __name__ == "__main__":
    main()
