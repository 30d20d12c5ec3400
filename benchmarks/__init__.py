"""Measurements that tests do not make: real data, real processes, wall-clock times."""
