"""The serving program: answers which skill a task needs, if any."""
