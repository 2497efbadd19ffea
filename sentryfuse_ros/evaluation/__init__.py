"""What a model is worth: accuracy, calibration and cost per set of live sensors and pruning ratio, as tables and a page."""
