#!/usr/bin/env python
"""`cfrsam predict` of a clone: see `python tools/predict.py --help`."""

from cfrsam_d2.commands.predict import main

if __name__ == "__main__":
    main()
