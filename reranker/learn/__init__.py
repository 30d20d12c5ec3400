"""Offline learning and what it publishes."""
