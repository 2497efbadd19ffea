"""A simulated robot that drives over known ground in MuJoCo; models of its sensors record a rosbag2 (docs/SIMULATION.md).

`run.simulate(seed, duration_s, out)` makes one recording, `series.simulate_series` makes many.
"""
