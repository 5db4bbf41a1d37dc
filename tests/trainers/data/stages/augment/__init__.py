"""Tests of the stages that make more rows."""
