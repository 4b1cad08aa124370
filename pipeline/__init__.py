"""Zeta keeps a fleet of supervised models healthy in production."""
