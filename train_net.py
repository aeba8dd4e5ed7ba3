#!/usr/bin/env python
"""`cfrsam train` of a clone: see `python train_net.py --help`."""

from cfrsam_d2.commands.train import main

if __name__ == "__main__":
    main()
