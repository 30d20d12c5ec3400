"""The first stage: read-only generations, a private delta, two arms and their fusion."""
