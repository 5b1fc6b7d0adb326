"""From what a function returned to an answer."""
