"""Many slides by many workers: `schedule` gives tasks to a crew, in this process (`own`), in others
of this machine (`local`) or on a cluster (`on_ray`), and `table` keeps what has become of them.
"""
