"""How a task becomes a route; knows nothing of HTTP."""
