"""Functions that the configuration publishes: how they describe themselves to people and to programs."""
