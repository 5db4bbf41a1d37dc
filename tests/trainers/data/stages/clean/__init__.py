"""Tests of the cleaning stages."""
