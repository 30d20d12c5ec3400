"""The HTTP door, one thin module per resource."""
