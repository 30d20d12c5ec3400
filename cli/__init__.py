"""The `loadstar` program."""
