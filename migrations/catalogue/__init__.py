"""The catalogue's steps, in order of their numbers."""
