"""What the model is: tracing, one form for every activation, folding, and the calibration walk."""
