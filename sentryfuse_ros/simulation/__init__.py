"""A simulated robot: MuJoCo drives it over known ground, sensor models record it as a rosbag2 (docs/SIMULATION.md).

`run.simulate(seed, duration_s, out)` makes one recording. Nothing here knows the rest of the package.
"""
