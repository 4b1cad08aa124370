"""The only rooms that touch the world."""
