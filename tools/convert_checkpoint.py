#!/usr/bin/env python
"""`cfrsam convert` of a clone: see `python tools/convert_checkpoint.py --help`."""

from cfrsam_d2.commands.convert import main

if __name__ == "__main__":
    main()
