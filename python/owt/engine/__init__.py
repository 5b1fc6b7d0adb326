"""What nginx's worker calls: the start, each call, the end."""
