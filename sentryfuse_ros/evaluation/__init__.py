"""Numbers that tell how good a model is: accuracy, calibration and cost of every set of live sensors and pruning ratio."""
