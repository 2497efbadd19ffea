"""A simulated robot: MuJoCo drives it over known ground, sensor models record it as a rosbag2 (docs/SIMULATION.md).

`run.simulate(seed, duration_s, out)` makes one recording, `series.simulate_series` makes many. Of the rest of the package, the
simulation uses only `bags`, for the files beside a recording.
"""
