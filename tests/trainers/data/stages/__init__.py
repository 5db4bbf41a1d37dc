"""Tests of the stages, one file each."""
