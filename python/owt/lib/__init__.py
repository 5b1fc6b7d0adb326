"""Small helpers for adaptors; each module imports what it wraps only when called."""
