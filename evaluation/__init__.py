"""How good the router is, on our data and on an operator's own; nobody imports this."""
