"""For adaptors with a model: one copy of it in a process (``keep``), and calls of it put together (``batch``)."""
