"""Tuning: the measurements behind the first stage's constants, on train and calibration rows."""
